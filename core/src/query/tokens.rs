//! What can be said of a statement before it is parsed.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::Token;

/// Bounds on the tree that the parser makes. The depth of the tree is known only once it is parsed, and parsing it,
/// or dropping it if it is refused, takes stack already.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// Tokens that may deepen the tree: all except values, names and separators.
    pub(super) operators: usize,
    /// How deep the parser may recurse: open brackets, and what the parser's own limit does not count, which is
    /// keywords in a row, EXPLAIN, and types of types.
    pub(super) nesting: usize,
    /// Square brackets that are open at once.
    pub(super) arrays: usize,
}

impl Tokens {
    pub(super) fn count<'a>(tokens: impl Iterator<Item = &'a Token>) -> Self {
        let (mut operators, mut uncounted) = (0, 0);
        let (mut open, mut most_open) = (0_usize, 0);
        let (mut arrays, mut most_arrays) = (0_usize, 0);
        let (mut row, mut longest_row) = (0, 0);
        let mut previous = &Token::EOF;
        for token in tokens.filter(|token| !matches!(token, Token::Whitespace(_))) {
            let keyword = keyword(token);
            row = if keyword.is_some() { row + 1 } else { 0 };
            longest_row = longest_row.max(row);
            match token {
                Token::LParen | Token::LBracket | Token::LBrace => {
                    open += 1;
                    most_open = most_open.max(open);
                    // A subscripted value may be subscripted again.
                    operators += usize::from(*token == Token::LBracket);
                    arrays += usize::from(*token == Token::LBracket);
                    most_arrays = most_arrays.max(arrays);
                }
                Token::RParen | Token::RBracket | Token::RBrace => {
                    open = open.saturating_sub(1);
                    arrays = arrays.saturating_sub(usize::from(*token == Token::RBracket));
                    uncounted += usize::from(*previous == Token::LBracket);
                }
                Token::Word(_) => {
                    operators += usize::from(keyword.is_some());
                    uncounted += usize::from(keyword == Some(Keyword::EXPLAIN));
                }
                Token::Comma | Token::Period | Token::Placeholder(_) => {}
                Token::Number(..) | Token::SingleQuotedString(_) => {}
                // This is the sign of a number in a list.
                Token::Minus | Token::Plus if matches!(previous, Token::LParen | Token::Comma) => {}
                Token::Lt if is_type(previous) => uncounted += 1,
                _ => operators += 1,
            }
            previous = token;
        }
        Self { operators, nesting: most_open + longest_row + uncounted, arrays: most_arrays }
    }
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) if word.quote_style.is_none() && word.keyword != Keyword::NoKeyword => {
            Some(word.keyword)
        }
        _ => None,
    }
}

/// Whether a `<` after this token opens the parameters of a type.
fn is_type(previous: &Token) -> bool {
    matches!(keyword(previous), Some(Keyword::ARRAY | Keyword::STRUCT | Keyword::MAP))
}

//! Environment variables in values.

/// Replaces every `${NAME}` in `text` by the value of NAME; `$${` stands for `${` itself. The file was parsed before,
/// so no value can add a key or end a string.
///
/// # Errors
/// A variable that is not set, or a `${` without its end.
pub(super) fn substitute(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, from) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let (name, after) = from[2..]
            .split_once('}')
            .ok_or_else(|| format!("`{from}` has no closing `}}`; `$${{` is a plain `${{`"))?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(format!(
                "`${{{name}}}` is not a name of an environment variable; `$${{` is a plain `${{`"
            ));
        }
        let value = variable(name).ok_or_else(|| format!("the environment variable `{name}` is not set"))?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

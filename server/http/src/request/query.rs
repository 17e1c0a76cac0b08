//! What stands behind the `?` of a request.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::Uri;
use pillion::nearest;

use crate::problem::Problem;

/// The arguments of a request, each at most once.
///
/// # Errors
/// 400 for a name that is not in `known`, and for one that is there twice: an argument that is ignored is worse.
pub(crate) fn arguments<'a>(
    uri: &'a Uri,
    known: &[&str],
) -> Result<BTreeMap<Cow<'a, str>, Cow<'a, str>>, Problem> {
    let mut arguments = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        if !known.contains(&name.as_ref()) {
            let name: String = name.chars().take(60).collect();
            let hint = match (nearest(&name, known.iter().copied()), known) {
                (Some(near), _) => format!("; did you mean `{near}`?"),
                (None, []) => "; it takes none".to_owned(),
                (None, known) => format!("; there are {}", known.join(", ")),
            };
            let message = format!("this address takes no argument `{name}`{hint}");
            return Err(Problem::bad_request("UnknownArgument", message));
        }
        if arguments.contains_key(&name) {
            let message = format!("the argument `{name}` is there twice");
            return Err(Problem::bad_request("UnknownArgument", message));
        }
        arguments.insert(name, value);
    }
    Ok(arguments)
}

//! Names in SQL text. A schema may have any name that PostgreSQL accepts, so it is put into a statement
//! only through [`render`].

/// The statement of a template: `{schema}` is the quoted schema of rehome, and `{body}` the delimiter at
/// both ends of a function's body.
///
/// A quoted name is a name wherever SQL has one, but a body ends at its delimiter also inside of quotes. So the
/// delimiter is one that neither the template nor the name contains.
pub(crate) fn render(template: &str, schema: &str) -> String {
    let schema = quoted(schema);
    if !template.contains("{body}") {
        return template.replace("{schema}", &schema);
    }
    // The name last: text in it that looks like a placeholder stays.
    template.replace("{body}", &sign_outside(&[template, &schema])).replace("{schema}", &schema)
}

/// A name as PostgreSQL reads it whatever is in it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The sign of a body that ends in none of these texts.
fn sign_outside(texts: &[&str]) -> String {
    let mut tag = "rehome".to_owned();
    while texts.iter().any(|text| text.contains(&tag)) {
        tag.push('_');
    }
    format!("${tag}$")
}

#[cfg(test)]
mod tests {
    use super::{quoted, render};

    #[test]
    fn a_name_is_quoted_and_never_a_placeholder() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(render("{schema}.t", "{body}{schema}"), "\"{body}{schema}\".t");
    }

    #[test]
    fn no_name_ends_the_body_of_a_function() {
        for name in ["a", "a$$b", "$rehome$", "$rehome_$", "rehome", "$rehome", "x$rehome__$$", "$"]
        {
            let sql = render("AS {body}SELECT {schema}.f(){body}", name);
            let body = sql.strip_prefix("AS ").expect("what comes before it");
            let end = body[1..].find('$').expect("the end of the sign") + 2;
            let (sign, rest) = body.split_at(end);
            assert_eq!(rest.split(sign).collect::<Vec<_>>().len(), 2, "{name}: {sql}");
            let begun = rest.strip_suffix(sign).expect("the sign at the end");
            assert_eq!(begun, format!("SELECT {}.f()", quoted(name)), "{name}");
        }
    }
}

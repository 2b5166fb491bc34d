//! The metrics and labels that a PromQL query names. It does not check syntax: promtool does.

use std::collections::BTreeSet;

/// One piece of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text,
    Sign(char),
}

/// What a query names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Metrics with the prefix, and the labels in their braces.
    pub(super) selectors: Vec<(String, Vec<String>)>,
    /// Labels after `by`, `without`, `on`, `ignoring`, `group_left` or `group_right`.
    pub(super) groups: BTreeSet<String>,
}

const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

fn tokens(query: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = query.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '"' | '\'' | '`' => {
                while let Some(inside) = rest.next() {
                    match inside {
                        '\\' if next != '`' => drop(rest.next()),
                        _ if inside == next => break,
                        _ => {}
                    }
                }
                tokens.push(Token::Text);
            }
            '#' => while rest.next_if(|&inside| inside != '\n').is_some() {},
            _ if next.is_ascii_alphabetic() || "_:$".contains(next) => {
                let mut word = String::from(next);
                while let Some(more) =
                    rest.next_if(|&more| more.is_ascii_alphanumeric() || "_:".contains(more))
                {
                    word.push(more);
                }
                tokens.push(Token::Word(word));
            }
            _ if next.is_whitespace() => {}
            _ => tokens.push(Token::Sign(next)),
        }
    }
    tokens
}

/// What `query` names, of metrics that begin with `prefix`.
pub(super) fn names(query: &str, prefix: &str) -> Names {
    let tokens = tokens(query);
    let mut names = Names::default();
    // The words of a list that ends with `close`: those after its start, or a comma.
    let list = |from: usize, close: char| {
        let end = tokens[from..]
            .iter()
            .position(|token| *token == Token::Sign(close))
            .map_or(tokens.len(), |at| from + at);
        let words = (from..end).filter_map(|at| match &tokens[at] {
            Token::Word(word) if at == from || tokens[at - 1] == Token::Sign(',') => Some(word.clone()),
            _ => None,
        });
        words.collect::<Vec<_>>()
    };
    for (at, token) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let next = tokens.get(at + 1);
        if word.starts_with(prefix) {
            let labels = if next == Some(&Token::Sign('{')) { list(at + 2, '}') } else { Vec::new() };
            names.selectors.push((word.clone(), labels));
        } else if GROUPING.contains(&word.as_str()) && next == Some(&Token::Sign('(')) {
            names.groups.extend(list(at + 2, ')'));
        }
    }
    names
}

#[test]
fn queries_are_taken_apart() {
    let query = r#"topk(3, sum by (le, kind) (rate(a_x_bucket{instance=~"a_b{\"", kind!='c'}[5m])) / on (z) a_y) > b_w"#;
    let found = names(query, "a_");
    let selector =
        |name: &str, labels: &[&str]| (name.to_owned(), labels.iter().map(ToString::to_string).collect());
    assert_eq!(found.selectors, [selector("a_x_bucket", &["instance", "kind"]), selector("a_y", &[])]);
    assert!(found.groups.iter().eq(["kind", "le", "z"]), "{:?}", found.groups);
}

//! The queries in Grafana's dashboards and in alerts, made into such as have data when all is well.
//!
//! The crate `promql-parser` would bring 26 packages for this, among them `bincode`, which is no longer maintained.

use serde_json::Value;

/// Grafana's own variables. Prometheus is scraped every 30 s, and Grafana takes four times that.
const BUILT_IN: [(&str, &str); 4] =
    [("__rate_interval", "2m"), ("__interval", "30s"), ("__range", "15m"), ("__range_s", "900")];
const COMPARISONS: [&str; 6] = ["==", "!=", ">=", "<=", ">", "<"];
const SET_OPERATORS: [&str; 3] = ["and", "or", "unless"];

/// The queries of a dashboard's panels and variables, with every variable set to what matches all.
#[must_use]
pub fn of_dashboard(dashboard: &Value, namespace: &str) -> Vec<String> {
    let variables: Vec<_> = dashboard["templating"]["list"].as_array().into_iter().flatten().collect();
    let names = variables.iter().filter_map(|variable| variable["name"].as_str());
    let mut values: Vec<_> = BUILT_IN.to_vec();
    values.extend(names.map(|name| (name, if name == "namespace" { namespace } else { ".+" })));
    // `$__range` must not eat the beginning of `$__range_s`.
    values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));

    let mut queries = Vec::new();
    collect(&dashboard["panels"], &mut queries);
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        let query = variable["query"].as_str().or_else(|| variable["query"]["query"].as_str());
        queries.extend(query.and_then(label_values));
    }
    queries.into_iter().map(|query| substitute(query, &values)).collect()
}

/// The parts of an alert's expression that it compares, and what it says must not be absent.
#[must_use]
pub fn operands(expression: &str) -> Vec<&str> {
    let expression = expression.trim();
    if let Some(inner) = call(expression, "absent").or_else(|| call(expression, "")) {
        return operands(inner);
    }
    match top_level(expression, &SET_OPERATORS).or_else(|| top_level(expression, &COMPARISONS)) {
        Some((left, right)) => [operands(left), operands(without_matching(right))].concat(),
        None if is_number(expression) => Vec::new(),
        None => match aggregated(expression).filter(|inner| top_level(inner, &COMPARISONS).is_some()) {
            Some(inner) => operands(inner),
            None => vec![expression],
        },
    }
}

/// What `count by (…) (…)` and the like count.
fn aggregated(expression: &str) -> Option<&str> {
    let (last, _) =
        depths(expression).filter(|(at, depth)| *depth == 1 && expression[*at..].starts_with('(')).last()?;
    expression[last + 1..].strip_suffix(')')
}

/// Numbers and what is reckoned from them: no word begins in it.
fn is_number(expression: &str) -> bool {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric())
        .all(|word| !word.starts_with(|c: char| c.is_alphabetic()))
}

fn collect(panels: &Value, queries: &mut Vec<String>) {
    for panel in panels.as_array().into_iter().flatten() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        queries.extend(targets.filter_map(|target| target["expr"].as_str()).map(str::to_owned));
        collect(&panel["panels"], queries);
    }
}

/// `label_values(metric, label)` is Grafana's, not Prometheus'.
fn label_values(query: &str) -> Option<String> {
    let arguments = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (series, label) = arguments.rsplit_once(',')?;
    Some(format!("count by ({}) ({})", label.trim(), series.trim()))
}

fn substitute(mut query: String, values: &[(&str, &str)]) -> String {
    for (name, value) in values {
        for form in [format!("${{{name}}}"), format!("${{{name}:regex}}"), format!("${name}")] {
            query = query.replace(&form, value);
        }
    }
    query
}

/// What is within the parentheses of `name(…)`, if that is all there is.
fn call<'a>(expression: &'a str, name: &str) -> Option<&'a str> {
    let inner = expression.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')')?;
    // `(a) + (b)` begins and ends with parentheses, too.
    depths(inner).all(|(_, depth)| depth >= 0).then_some(inner)
}

/// Splits at the first of some operators that stands outside of all parentheses, braces and strings.
fn top_level<'a>(expression: &'a str, operators: &[&str]) -> Option<(&'a str, &'a str)> {
    depths(expression).filter(|(_, depth)| *depth == 0).find_map(|(at, _)| {
        let rest = &expression[at..];
        let operator = operators.iter().find(|operator| rest.starts_with(**operator))?;
        let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let (left, right) = (&expression[..at], &rest[operator.len()..]);
        let within_word = operator.starts_with(char::is_alphabetic)
            && (word(left.chars().next_back()) || word(right.chars().next()));
        (!within_word).then_some((left, right))
    })
}

/// Without `on (…)`, `ignoring (…)`, `bool` and the like after an operator.
fn without_matching(operand: &str) -> &str {
    let operand = operand.trim_start();
    if let Some(rest) = operand.strip_prefix("bool ") {
        return without_matching(rest);
    }
    for word in ["on", "ignoring", "group_left", "group_right"] {
        let list = operand.strip_prefix(word).map(str::trim_start).filter(|rest| rest.starts_with('('));
        if let Some((_, rest)) = list.and_then(|list| list.split_once(')')) {
            return without_matching(rest);
        }
    }
    operand
}

/// Where each character stands, and how deep, leaving out strings.
fn depths(expression: &str) -> impl Iterator<Item = (usize, i32)> {
    let (mut depth, mut quote, mut escaped) = (0, None, false);
    expression.char_indices().filter_map(move |(at, c)| {
        if let Some(end) = quote {
            if c == end && !escaped {
                quote = None;
            }
            escaped = c == '\\' && !escaped;
            return None;
        }
        match c {
            '"' | '\'' | '`' => {
                quote = Some(c);
                return None;
            }
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            _ => {}
        }
        Some((at, depth))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn thresholds_are_cut_off() {
        for (expression, expected) in [
            ("up == 0", vec!["up"]),
            ("sum(rate(a{b=\"x > y\"}[5m])) by (c) > 0.1", vec!["sum(rate(a{b=\"x > y\"}[5m])) by (c)"]),
            ("(a / b > (14.4 * 0.001)) and on (c) (d > 1e-3)", vec!["a / b", "d"]),
            ("a - time() < 86400 unless b >= bool 1", vec!["a - time()", "b"]),
            ("absent(up{job=\"k\"}) or up < 1", vec!["up{job=\"k\"}", "up"]),
            ("a > on (x) group_left () b", vec!["a", "b"]),
            ("(a) + (b) > 2", vec!["(a) + (b)"]),
            ("count by (job) (up == 0) > 1", vec!["up"]),
            ("sum by (a) (rate(b[5m]))", vec!["sum by (a) (rate(b[5m]))"]),
            ("band_order > 1", vec!["band_order"]),
        ] {
            assert_eq!(operands(expression), expected, "{expression}");
        }
    }

    #[test]
    fn dashboards_give_all_their_queries_without_variables() {
        let dashboard = json!({
            "templating": {"list": [
                {"name": "namespace", "type": "query", "query": "label_values(up, namespace)"},
                {"name": "pod", "type": "query", "query": {"query": "label_values(up{n=\"$namespace\"}, pod)"}},
            ]},
            "panels": [
                {"targets": [{"expr": "rate(a{n=\"$namespace\",p=~\"${pod:regex}\"}[$__rate_interval])"}]},
                {"panels": [{"targets": [{"expr": "b * $__range_s"}]}]},
            ],
        });
        assert_eq!(
            of_dashboard(&dashboard, "k"),
            [
                "rate(a{n=\"k\",p=~\".+\"}[2m])",
                "b * 900",
                "count by (namespace) (up)",
                "count by (pod) (up{n=\"k\"})",
            ]
        );
    }
}

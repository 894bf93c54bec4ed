//! Extracts queries from dashboards and alerts, in a form that returns data in a healthy cluster.
//!
//! The crate `promql-parser` would add 26 packages, among them `bincode`, which is no longer maintained.

use serde_json::Value;

/// Grafana's built-in variables. Prometheus scrapes every 30 s, and Grafana's `$__rate_interval` is four times that.
const BUILT_IN: [(&str, &str); 4] =
    [("__rate_interval", "2m"), ("__interval", "30s"), ("__range", "15m"), ("__range_s", "900")];
const COMPARISONS: [&str; 6] = ["==", "!=", ">=", "<=", ">", "<"];
const SET_OPERATORS: [&str; 3] = ["and", "or", "unless"];

/// Returns the queries of a dashboard's panels and variables, with each variable replaced by a pattern that matches all.
#[must_use]
pub fn dashboard_queries(dashboard: &Value, namespace: &str) -> Vec<String> {
    let variables: Vec<_> = dashboard["templating"]["list"].as_array().into_iter().flatten().collect();
    let names = variables.iter().filter_map(|variable| variable["name"].as_str());
    let mut values: Vec<_> = BUILT_IN.to_vec();
    values.extend(names.map(|name| (name, if name == "namespace" { namespace } else { ".+" })));
    // Longest first: `$__range` must not replace the beginning of `$__range_s`.
    values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));

    let mut queries = Vec::new();
    collect(&dashboard["panels"], &mut queries);
    for variable in variables.iter().filter(|variable| variable["type"] == "query") {
        let query = variable["query"].as_str().or_else(|| variable["query"]["query"].as_str());
        queries.extend(query.and_then(label_values));
    }
    queries.into_iter().map(|query| substitute(query, &values)).collect()
}

/// Returns the operands of an alert expression's comparisons, except numbers, and the arguments of `absent`.
#[must_use]
pub fn operands(expression: &str) -> Vec<&str> {
    let expression = expression.trim();
    if let Some(inner) = call_argument(expression, "absent").or_else(|| call_argument(expression, "")) {
        return operands(inner);
    }
    match split_top_level(expression, &SET_OPERATORS).or_else(|| split_top_level(expression, &COMPARISONS)) {
        Some((left, right)) => [operands(left), operands(strip_vector_matching(right))].concat(),
        None if is_number(expression) => Vec::new(),
        None => match aggregation_argument(expression)
            .filter(|inner| split_top_level(inner, &COMPARISONS).is_some())
        {
            Some(inner) => operands(inner),
            None => vec![expression],
        },
    }
}

/// Returns the operand of an aggregation such as `count by (…) (…)`.
fn aggregation_argument(expression: &str) -> Option<&str> {
    let (last, _) =
        depths(expression).filter(|(at, depth)| *depth == 1 && expression[*at..].starts_with('(')).last()?;
    expression[last + 1..].strip_suffix(')')
}

/// Returns whether an expression consists of numbers and operators only: no word begins with a letter.
fn is_number(expression: &str) -> bool {
    expression
        .split(|c: char| !c.is_ascii_alphanumeric())
        .all(|word| !word.starts_with(|c: char| c.is_alphabetic()))
}

/// Collects the queries of panels and of the panels inside rows.
fn collect(panels: &Value, queries: &mut Vec<String>) {
    for panel in panels.as_array().into_iter().flatten() {
        let targets = panel["targets"].as_array().into_iter().flatten();
        queries.extend(targets.filter_map(|target| target["expr"].as_str()).map(str::to_owned));
        collect(&panel["panels"], queries);
    }
}

/// Translates Grafana's `label_values(metric, label)` into `PromQL`.
fn label_values(query: &str) -> Option<String> {
    let arguments = query.strip_prefix("label_values(")?.strip_suffix(')')?;
    let (series, label) = arguments.rsplit_once(',')?;
    Some(format!("count by ({}) ({})", label.trim(), series.trim()))
}

/// Replaces variables in all notations.
fn substitute(mut query: String, values: &[(&str, &str)]) -> String {
    for (name, value) in values {
        for form in [format!("${{{name}}}"), format!("${{{name}:regex}}"), format!("${name}")] {
            query = query.replace(&form, value);
        }
    }
    query
}

/// Returns what `name(…)` encloses, or `None` if the expression is anything else.
fn call_argument<'a>(expression: &'a str, name: &str) -> Option<&'a str> {
    let inner = expression.strip_prefix(name)?.trim_start().strip_prefix('(')?.strip_suffix(')')?;
    // `(a) + (b)` also begins and ends with parentheses.
    depths(inner).all(|(_, depth)| depth >= 0).then_some(inner)
}

/// Splits an expression at the first of `operators` outside all brackets and strings.
fn split_top_level<'a>(expression: &'a str, operators: &[&str]) -> Option<(&'a str, &'a str)> {
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

/// Strips `bool` and vector matching such as `on (…)` or `group_left (…)` from the beginning of an operand.
fn strip_vector_matching(operand: &str) -> &str {
    let operand = operand.trim_start();
    if let Some(rest) = operand.strip_prefix("bool ") {
        return strip_vector_matching(rest);
    }
    for word in ["on", "ignoring", "group_left", "group_right"] {
        let list = operand.strip_prefix(word).map(str::trim_start).filter(|rest| rest.starts_with('('));
        if let Some((_, rest)) = list.and_then(|list| list.split_once(')')) {
            return strip_vector_matching(rest);
        }
    }
    operand
}

/// Returns the byte offset of each character outside strings, with the nesting depth after it.
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
    fn thresholds_are_removed() {
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
    fn dashboard_variables_are_replaced_in_all_queries() {
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
            dashboard_queries(&dashboard, "k"),
            [
                "rate(a{n=\"k\",p=~\".+\"}[2m])",
                "b * 900",
                "count by (namespace) (up)",
                "count by (pod) (up{n=\"k\"})",
            ]
        );
    }
}

//! The table of results, and diagnostics if a check fails.

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::Pod;
use kelvin_testing::may_be_missing;
use kube::ResourceExt as _;

use crate::cluster::{Cluster, is_ready};

const LOG_LINES: i64 = 25;

/// The result of a check of an optional component.
pub enum Outcome {
    /// The check passed; the text says what it found.
    Passed(String),
    /// The check did not run because this component is not installed; the name is one for `NOT_HERE`.
    Unavailable(&'static str),
}

/// Runs checks, prints each result as soon as it is known, and counts them.
pub struct Report {
    name: &'static str,
    only: Option<String>,
    passed: usize,
    failed: usize,
    skipped: Vec<String>,
    started: Instant,
}

impl Report {
    /// Creates a report. With `only`, it runs only checks whose name contains that text.
    #[must_use]
    pub fn new(name: &'static str, only: Option<String>) -> Self {
        Self { name, only, passed: 0, failed: 0, skipped: Vec::new(), started: Instant::now() }
    }

    /// Runs a check, unless `only` excludes it. The text that the check returns says what it found.
    pub async fn check(&mut self, name: &str, check: impl Future<Output = Result<String>>) {
        if self.includes(name) {
            let started = Instant::now();
            let result = check.await.map(Outcome::Passed);
            self.add(name, started, result);
        }
    }

    /// Runs a check of an optional component, unless `only` excludes it.
    ///
    /// If `CI` is set, a missing component fails the check unless `NOT_HERE` names it.
    pub async fn check_optional(&mut self, name: &str, check: impl Future<Output = Result<Outcome>>) {
        if self.includes(name) {
            let started = Instant::now();
            let result = check.await;
            self.add(name, started, result);
        }
    }

    /// Returns whether `only` includes a check.
    fn includes(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    /// Counts and prints a result.
    fn add(&mut self, name: &str, started: Instant, mut result: Result<Outcome>) {
        if let Ok(Outcome::Unavailable(component)) = &result
            && !may_be_missing(component)
        {
            result = Err(anyhow!("{component} is not available here; set NOT_HERE={component} to skip"));
        }
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(Outcome::Passed(found)) => {
                self.passed += 1;
                println!("ok      {seconds:6.1} s  {name:<44} {found}");
            }
            Ok(Outcome::Unavailable(component)) => {
                println!("NOT RUN {seconds:6.1} s  {name:<44} {component} is not available here");
                self.skipped.push(format!("{name} ({component} is not available here)"));
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {seconds:6.1} s  {name:<44} {error:#}");
            }
        }
    }

    /// Returns whether a check failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed > 0
    }

    /// Prints warning events, the state of the pods and the last lines of their logs.
    pub async fn diagnose(&self, cluster: &Cluster) {
        if let Err(error) = diagnose(cluster).await {
            println!("cannot collect diagnostics from the cluster: {error:#}");
        }
    }

    /// Prints the totals and returns the exit code of the process.
    #[must_use]
    pub fn finish(self) -> ExitCode {
        let seconds = self.started.elapsed().as_secs();
        if !self.skipped.is_empty() {
            println!("NOT RUN: {}", self.skipped.join(", "));
        }
        if self.passed + self.failed + self.skipped.len() == 0 {
            println!("no check matches --only");
        }
        println!(
            "{}: {} of {} checks passed in {seconds} s",
            self.name,
            self.passed,
            self.passed + self.failed
        );
        if self.failed() || self.passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

async fn diagnose(cluster: &Cluster) -> Result<()> {
    println!("\n--- warnings in {}", cluster.namespace);
    for event in cluster.warnings().await? {
        let (object, reason) =
            (event.involved_object.name.unwrap_or_default(), event.reason.unwrap_or_default());
        println!("{object}: {reason}: {}", event.message.unwrap_or_default());
    }
    let pods = cluster.pods(&cluster.namespace, "").await?;
    println!("\n--- pods in {}", cluster.namespace);
    for pod in &pods {
        println!("{:<50} {:<10} {} restarts", pod.name_any(), state(pod), restarts(pod));
    }
    for pod in pods {
        let name = pod.name_any();
        println!("\n--- {name}, last lines");
        println!(
            "{}",
            cluster.logs(&cluster.namespace, &name, LOG_LINES).await.unwrap_or_else(|e| e.to_string())
        );
    }
    Ok(())
}

fn state(pod: &Pod) -> &str {
    if is_ready(pod) {
        return "ready";
    }
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("unknown")
}

/// Returns how often the pod's containers have restarted.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers.into_iter().flatten().map(|container| container.restart_count).sum()
}

//! The table of results, and what to look at when one is bad.

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::Pod;
use kelvin_testing::may_be_missing;
use kube::ResourceExt as _;

use crate::cluster::{Cluster, is_ready};

const LOG_LINES: i64 = 25;

/// What a check ends with that cannot always be run.
pub enum Outcome {
    /// What was found.
    Found(String),
    /// The component that is not installed, as `NOT_HERE` names it.
    NotHere(&'static str),
}

/// Collects results and prints each when it is there.
pub struct Report {
    name: &'static str,
    only: Option<String>,
    passed: usize,
    failed: usize,
    not_run: Vec<String>,
    started: Instant,
}

impl Report {
    /// `only` names the checks to run by a part of their names.
    #[must_use]
    pub fn new(name: &'static str, only: Option<String>) -> Self {
        Self { name, only, passed: 0, failed: 0, not_run: Vec::new(), started: Instant::now() }
    }

    /// Runs a check, unless it is left out. Its result says what was found.
    pub async fn check(&mut self, name: &str, check: impl Future<Output = Result<String>>) {
        if self.includes(name) {
            let started = Instant::now();
            let result = check.await.map(Outcome::Found);
            self.add(name, started, result);
        }
    }

    /// The same for a check of a component that need not be installed. Where `CI` is set it must be, unless `NOT_HERE`
    /// names it.
    pub async fn check_if_here(&mut self, name: &str, check: impl Future<Output = Result<Outcome>>) {
        if self.includes(name) {
            let started = Instant::now();
            let result = check.await;
            self.add(name, started, result);
        }
    }

    fn includes(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only.as_str()))
    }

    fn add(&mut self, name: &str, started: Instant, mut result: Result<Outcome>) {
        if let Ok(Outcome::NotHere(component)) = &result
            && !may_be_missing(component)
        {
            result = Err(anyhow!("{component} is not available here; set NOT_HERE={component} to skip"));
        }
        let seconds = started.elapsed().as_secs_f64();
        match result {
            Ok(Outcome::Found(found)) => {
                self.passed += 1;
                println!("ok      {seconds:6.1} s  {name:<44} {found}");
            }
            Ok(Outcome::NotHere(component)) => {
                println!("NOT RUN {seconds:6.1} s  {name:<44} {component} is not available here");
                self.not_run.push(format!("{name} ({component} is not available here)"));
            }
            Err(error) => {
                self.failed += 1;
                println!("FAILED  {seconds:6.1} s  {name:<44} {error:#}");
            }
        }
    }

    /// Whether a check failed.
    #[must_use]
    pub fn failed(&self) -> bool {
        self.failed > 0
    }

    /// Prints the pods, what Kubernetes warned of, and the last lines of the logs.
    pub async fn diagnose(&self, cluster: &Cluster) {
        if let Err(error) = diagnose(cluster).await {
            println!("cannot collect diagnostics from the cluster: {error:#}");
        }
    }

    /// Prints the sum, and gives the process's exit code.
    #[must_use]
    pub fn end(self) -> ExitCode {
        let seconds = self.started.elapsed().as_secs();
        if !self.not_run.is_empty() {
            println!("NOT RUN: {}", self.not_run.join(", "));
        }
        if self.passed + self.failed + self.not_run.len() == 0 {
            println!("no check has a name with the text of --only in it");
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

/// How often the pod's containers were started again.
#[must_use]
pub fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_ref());
    containers.into_iter().flatten().map(|container| container.restart_count).sum()
}

//! The allowed dependencies between crates, as in ARCHITECTURE.md.
//!
//! ```text
//! domain ◀── ports ◀──┬── engine ◀─────┐
//!    ▲                └── adapters/* ◀─┴── app ◀── observe ◀──┬── server ◀── cli
//!  model                            api ◀──┴────────┘        └── workload ◀──┘
//!                            dashboards ◀──┴────────┘
//! ```
//!
//! Dependencies of tests are free: the engine's tests may run on an adapter.

use crate::metadata::{Dependency, Kind, Package};

/// The place of a crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Domain,
    Ports,
    Adapter,
    Engine,
    Api,
    /// Rules and dashboards: text from thresholds.
    Dashboards,
    App,
    /// The state of a running deployment.
    Observe,
    /// What an application depends on: the router over stores by URL, and adapters to frameworks.
    Library,
    /// Load, and the quickstart.
    Workload,
    Server,
    Cli,
    /// The model of the protocol: it uses the domain's rules, and no code that follows them.
    Model,
    /// Tools and black-box tests, on which nothing that users get is built.
    Outside,
}

impl Room {
    fn of(folder: &str) -> Option<Self> {
        Some(match folder {
            "crates/domain" => Self::Domain,
            "crates/ports" => Self::Ports,
            "crates/engine" => Self::Engine,
            "crates/api" => Self::Api,
            "crates/dashboards" => Self::Dashboards,
            "crates/app" => Self::App,
            "crates/observe" => Self::Observe,
            "crates/rehome" | "crates/cqrs-es" => Self::Library,
            "crates/workload" => Self::Workload,
            "crates/server" => Self::Server,
            "crates/cli" => Self::Cli,
            "sim/model" | "sim/guard" => Self::Model,
            // It runs the engine whole, and nothing that users get is built on it.
            "sim/simulator" | "xtask" | "tests" | "tests/cluster" | "tests/monitor" => {
                Self::Outside
            }
            _ if folder.starts_with("crates/adapters/") => Self::Adapter,
            _ => return None,
        })
    }

    /// The rooms that this one may depend on.
    const fn may_use(self) -> &'static [Self] {
        use Room::{
            Adapter, Api, App, Cli, Dashboards, Domain, Engine, Library, Observe, Ports, Server,
            Workload,
        };
        match self {
            Domain | Api | Dashboards => &[],
            Ports | Self::Model => &[Domain],
            Adapter | Engine => &[Domain, Ports],
            Library => &[Domain, Ports, Engine, Adapter, Library],
            App => &[Domain, Ports, Engine, Adapter, Api, Dashboards],
            Observe => &[Domain, Ports, Engine, Api, Dashboards, App],
            Server => &[Domain, Ports, Engine, Api, App, Observe],
            Workload => &[Domain, Ports, Adapter, Engine, Api, App, Observe],
            Cli => &[Domain, Ports, Api, Dashboards, App, Observe, Workload, Server],
            Self::Outside => &[
                Domain,
                Ports,
                Adapter,
                Engine,
                Api,
                Dashboards,
                App,
                Observe,
                Workload,
                Server,
                Cli,
                Self::Outside,
            ],
        }
    }

    /// Crates of others that would break what the room is for.
    const fn never(self) -> &'static [&'static str] {
        match self {
            Self::Domain => &["tokio", "serde", "async-trait", "rand", "tracing"],
            Self::Engine => &["rusqlite", "axum", "hyper"],
            _ => &[],
        }
    }
}

/// One line for each forbidden dependency, and for each crate without a place.
pub(crate) fn check(packages: &[Package]) -> Vec<String> {
    packages
        .iter()
        .flat_map(|package| match Room::of(&package.folder) {
            Some(room) => check_package(package, room, packages),
            None => vec![format!(
                "{} is a new room: say where this crate stands in ARCHITECTURE.md and in \
                 xtask/src/architecture.rs",
                package.folder
            )],
        })
        .collect()
}

fn check_package(package: &Package, room: Room, packages: &[Package]) -> Vec<String> {
    let built_on = package.dependencies.iter().filter(|dependency| dependency.kind != Kind::Dev);
    built_on
        .filter(|dependency| !is_allowed(room, dependency, packages))
        .map(|dependency| format!("{} must not depend on {}", package.folder, dependency.name))
        .collect()
}

fn is_allowed(room: Room, dependency: &Dependency, packages: &[Package]) -> bool {
    match packages.iter().find(|package| package.name == dependency.name) {
        // A crate without a place is reported once, for itself.
        Some(ours) => Room::of(&ours.folder).is_none_or(|other| room.may_use().contains(&other)),
        None => !room.never().contains(&dependency.name.as_str()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::check;
    use crate::metadata::parse;

    /// A crate in `folder` with dependencies, each `(name, kind)`; the kind is cargo's own word.
    fn package(name: &str, folder: &str, dependencies: &[(&str, Option<&str>)]) -> Value {
        let dependencies: Vec<_> = dependencies
            .iter()
            .map(|(name, kind)| json!({"name": name, "kind": kind, "rename": null}))
            .collect();
        json!({
            "name": name,
            "manifest_path": format!("/w/{folder}/Cargo.toml"),
            "metadata": null,
            "dependencies": dependencies,
        })
    }

    fn findings(packages: &[Value]) -> Vec<String> {
        check(&parse(&json!({"workspace_root": "/w", "packages": packages})).unwrap())
    }

    #[test]
    fn what_points_inward_is_allowed() {
        let found = findings(&[
            package("rehome-domain", "crates/domain", &[("sha2", None)]),
            package("rehome-ports", "crates/ports", &[("rehome-domain", None), ("tokio", None)]),
            package("rehome-sqlite", "crates/adapters/sqlite", &[("rehome-ports", None)]),
            package("rehome-engine", "crates/engine", &[("rehome-ports", None)]),
            package("rehome-api", "crates/api", &[("serde", None)]),
            package(
                "rehome-app",
                "crates/app",
                &[("rehome-engine", None), ("rehome-sqlite", None), ("rehome-api", None)],
            ),
            package(
                "rehome-observe",
                "crates/observe",
                &[("rehome-app", None), ("rehome-engine", None)],
            ),
            package("rehome-workload", "crates/workload", &[("rehome-observe", None)]),
            package(
                "rehome-server",
                "crates/server",
                &[("rehome-app", None), ("rehome-observe", None), ("axum", None)],
            ),
            package("rehome-cli", "crates/cli", &[("rehome-app", None), ("rehome-api", None)]),
            package("rehome-tests", "tests", &[("rehome-sqlite", None), ("rehome-cli", None)]),
            package("rehome", "crates/rehome", &[("rehome-engine", None), ("rehome-sqlite", None)]),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn an_engine_that_knows_an_adapter_is_found() {
        let found = findings(&[
            package("rehome-sqlite", "crates/adapters/sqlite", &[]),
            package("rehome-engine", "crates/engine", &[("rehome-sqlite", None)]),
        ]);
        assert_eq!(found, ["crates/engine must not depend on rehome-sqlite"]);
    }

    #[test]
    fn what_watches_a_deployment_is_unknown_to_it_and_a_load_to_the_server() {
        let found = findings(&[
            package("rehome-app", "crates/app", &[("rehome-observe", None)]),
            package("rehome-observe", "crates/observe", &[]),
            package("rehome-workload", "crates/workload", &[]),
            package("rehome-server", "crates/server", &[("rehome-workload", None)]),
        ]);
        assert_eq!(
            found,
            [
                "crates/app must not depend on rehome-observe",
                "crates/server must not depend on rehome-workload"
            ]
        );
    }

    #[test]
    fn an_adapter_that_knows_another_is_found() {
        let found = findings(&[
            package("rehome-sqlite", "crates/adapters/sqlite", &[]),
            package("rehome-postgres", "crates/adapters/postgres", &[("rehome-sqlite", None)]),
        ]);
        assert_eq!(found, ["crates/adapters/postgres must not depend on rehome-sqlite"]);
    }

    #[test]
    fn a_build_dependency_counts_and_one_of_tests_does_not() {
        let found = findings(&[
            package("rehome-ports", "crates/ports", &[]),
            package("rehome-sqlite", "crates/adapters/sqlite", &[]),
            package("rehome-domain", "crates/domain", &[("rehome-ports", Some("build"))]),
            package("rehome-engine", "crates/engine", &[("rehome-sqlite", Some("dev"))]),
        ]);
        assert_eq!(found, ["crates/domain must not depend on rehome-ports"]);
    }

    #[test]
    fn a_pure_domain_takes_no_runtime_and_an_engine_no_driver() {
        let found = findings(&[
            package("rehome-domain", "crates/domain", &[("tokio", None), ("uuid", None)]),
            package("rehome-engine", "crates/engine", &[("rusqlite", None)]),
        ]);
        assert_eq!(
            found,
            ["crates/domain must not depend on tokio", "crates/engine must not depend on rusqlite"]
        );
    }

    #[test]
    fn a_model_knows_the_domain_and_nobody_knows_the_model() {
        let found = findings(&[
            package("rehome-domain", "crates/domain", &[]),
            package("rehome-model", "sim/model", &[("rehome-domain", None), ("stateright", None)]),
            package("rehome-engine", "crates/engine", &[("rehome-model", None)]),
        ]);
        assert_eq!(found, ["crates/engine must not depend on rehome-model"]);
        let found = findings(&[
            package("rehome-engine", "crates/engine", &[]),
            package("rehome-model", "sim/model", &[("rehome-engine", None)]),
        ]);
        assert_eq!(found, ["sim/model must not depend on rehome-engine"]);
    }

    /// A method that has a default is easily forgotten in a store that wraps another.
    #[test]
    fn a_store_that_wraps_another_forwards_every_method() {
        let read = |path: &str| std::fs::read_to_string(crate::step::root().join(path)).unwrap();
        let port = read("crates/ports/src/ledger_store.rs");
        let port = port.split_once("pub trait LedgerStore").unwrap().1.split("\n}").next().unwrap();
        let name =
            |line: &str| Some(line.strip_prefix("    async fn ")?.split_once('(')?.0.to_owned());
        let methods: Vec<_> = port.lines().filter_map(name).collect();
        assert!(methods.len() > 30, "{methods:?}");
        let wrapper = read("crates/app/src/deployment/lazy_store.rs");
        let forwards: Vec<_> = wrapper.lines().filter_map(name).collect();
        let missing: Vec<_> = methods.iter().filter(|method| !forwards.contains(method)).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn a_crate_that_stands_nowhere_is_found_once() {
        let found = findings(&[
            package("rehome-misc", "crates/misc", &[]),
            package("rehome-engine", "crates/engine", &[("rehome-misc", None)]),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("crates/misc is a new room: say where"), "{found:?}");
    }
}

//! Checks the layer rules of `host/src`: which rooms (top-level files or folders) a room may
//! import, and which rooms may use certain foreign crates.
//!
//! The check reads the tokens of every source file except tests, and never compiles the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The rooms, from the lowest layer to the highest. Rooms of one layer may import each other, but
/// not in a circle.
const LAYERS: [&[&str]; 14] = [
    &["domain", "config", "secret"],
    &["completion", "cpu_time", "json", "memory"],
    &["redact", "telemetry", "transport"],
    &["manifest", "egress", "report"],
    &["oidc", "runtime", "store", "testmanager"],
    &["history", "plugins"],
    &["accounts", "connections"],
    &["defects", "kpis", "replay"],
    &["api"],
    &["http"],
    &["console"],
    &["app", "demo", "simulator"],
    &["conformance"],
    &["cli", "main"],
];

/// Rooms that may import fewer rooms than their layer allows, and the rooms that each may import.
const RESTRICTED_ROOMS: [(&str, &[&str]); 10] = [
    ("accounts", &["domain", "secret", "store"]),
    ("api", &["domain", "secret"]),
    ("history", &["domain", "store", "telemetry"]),
    ("manifest", &["domain", "config", "secret"]),
    ("redact", &["secret"]),
    ("report", &["domain"]),
    ("simulator", &["domain", "json"]),
    ("telemetry", &["domain", "secret", "transport"]),
    ("transport", &["domain", "secret"]),
    (
        "egress",
        &["domain", "config", "secret", "cpu_time", "memory", "redact", "telemetry", "transport"],
    ),
];

/// The code for the fuzz targets. The rules do not apply to it.
const EXEMPT_ROOM: &str = "fuzz";

/// Foreign crates, and the rooms that may use them.
const RESTRICTED_CRATES: [(&[&str], &[&str]); 15] = [
    (&["askama"], &["console", "http"]),
    (&["jsonwebtoken"], &["oidc"]),
    (&["axum"], &["console", "http", "demo", "json", "simulator"]),
    (&["wasmtime", "wasmtime_wasi", "wasmtime_wasi_http", "wasmparser"], &["runtime"]),
    (&["rusqlite", "sqlx"], &["store"]),
    (&["hyper", "hyper_util"], &["egress", "transport"]),
    (&["rustls", "tokio_rustls"], &["transport"]),
    (&["minijinja", "pulldown_cmark"], &["report"]),
    (&["clap"], &["cli"]),
    (&["listenfd"], &["app"]),
    (&["ppp"], &["http"]),
    (&["prometheus_client"], &["telemetry"]),
    (
        &["opentelemetry", "opentelemetry_http", "opentelemetry_otlp", "opentelemetry_sdk"],
        &["telemetry"],
    ),
    (&["ureq"], &["cli", "telemetry"]),
    (&["jackfield_author"], &["cli"]),
];

/// Files of the room `http` that may use these crates, but not the HTTP clients in them.
const SERVER_FILES_AND_CRATES: ([&str; 2], [&str; 2]) =
    (["http/serve.rs", "http/request_body.rs"], ["hyper", "hyper_util"]);

/// A path in a source file, such as `crate::domain::Clock`.
#[derive(Debug, Clone)]
struct Import {
    /// Relative to `host/src`.
    file: String,
    line: usize,
    /// A path into the host begins with `crate` and a room, because `self` and `super` are
    /// replaced.
    path: Vec<String>,
}

impl Import {
    fn room(&self) -> &str {
        self.file.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    fn imported_room(&self) -> Option<&str> {
        match self.path.as_slice() {
            [root, room, ..] if root == "crate" => Some(room),
            _ => None,
        }
    }

    fn violation(&self, rule: &str) -> String {
        format!("host/src/{}:{}: `{}`: {rule}", self.file, self.line, self.path.join("::"))
    }
}

fn layer_index(room: &str) -> Option<usize> {
    LAYERS.iter().position(|rooms| rooms.contains(&room))
}

fn violations(imports: &[Import]) -> Vec<String> {
    let checked = imports.iter().filter(|import| import.room() != EXEMPT_ROOM);
    let mut violations: Vec<_> = checked.clone().filter_map(room_violation).collect();
    violations.extend(checked.clone().filter_map(crate_violation));
    violations.extend(circle_violations(checked));
    violations
}

fn room_violation(import: &Import) -> Option<String> {
    let (from, to) = (import.room(), import.imported_room()?);
    if from == to || from == "lib" {
        return None;
    }
    let (Some(own), Some(imported)) = (layer_index(from), layer_index(to)) else {
        let rule = format!("`{from}` or `{to}` has no layer; add it to LAYERS in layers.rs");
        return Some(import.violation(&rule));
    };
    if imported > own {
        return Some(import.violation(&format!("`{to}` is in a layer above `{from}`")));
    }
    let (_, allowed) = RESTRICTED_ROOMS.iter().find(|(room, _)| *room == from)?;
    let rule = format!("`{from}` imports only {}", allowed.join(", "));
    (!allowed.contains(&to)).then(|| import.violation(&rule))
}

fn crate_violation(import: &Import) -> Option<String> {
    let name = import.path.first()?.as_str();
    let (_, rooms) = RESTRICTED_CRATES.iter().find(|(crates, _)| crates.contains(&name))?;
    let is_client = import.path.iter().any(|part| part.to_lowercase().contains("client"));
    let (files, crates) = SERVER_FILES_AND_CRATES;
    if files.contains(&import.file.as_str()) && crates.contains(&name) && !is_client {
        return None;
    }
    let rule = format!("`{name}` is used in {} only", rooms.join(" and "));
    (!rooms.contains(&import.room())).then(|| import.violation(&rule))
}

/// Finds rooms that import each other, directly or through other rooms. Each message names one
/// import.
fn circle_violations<'i>(imports: impl Iterator<Item = &'i Import>) -> Vec<String> {
    let mut graph: BTreeMap<&str, BTreeMap<&str, &Import>> = BTreeMap::new();
    for import in imports {
        if let Some(to) = import.imported_room().filter(|to| *to != import.room()) {
            graph.entry(import.room()).or_default().entry(to).or_insert(import);
        }
    }
    let reaches = |from: &str, to: &str| {
        let (mut visited, mut to_visit) = (BTreeSet::new(), vec![from.to_owned()]);
        while let Some(room) = to_visit.pop() {
            if room == to {
                return true;
            }
            let imported = graph.get(room.as_str()).into_iter().flat_map(BTreeMap::keys);
            let new = imported.filter(|room| visited.insert(**room));
            to_visit.extend(new.map(|room| (*room).to_owned()));
        }
        false
    };
    let edges = graph
        .iter()
        .flat_map(|(from, imports)| imports.iter().map(move |(to, import)| (*from, *to, import)));
    let circular = edges.filter(|(from, to, _)| reaches(to, from));
    circular
        .map(|(from, to, import)| import.violation(&format!("`{from}` and `{to}` are in a circle")))
        .collect()
}

fn imports_of_the_host(source: &Path) -> Vec<Import> {
    let mut imports = Vec::new();
    for path in source_files(source) {
        let file = path.strip_prefix(source).expect("a file below host/src").display().to_string();
        let parts: Vec<_> = file.split('/').collect();
        if parts.iter().any(|part| ["tests", "tests.rs"].contains(part)) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a readable file");
        imports.extend(imports_in(&file, &text));
    }
    imports
}

/// Returns the Rust sources below a folder, except those in folders `target` and `node_modules`.
pub(crate) fn source_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| !path.ends_with("target") && !path.ends_with("node_modules"));
    paths.sort();
    let files = paths.into_iter().flat_map(|path| match path.is_dir() {
        true => source_files(&path),
        false => vec![path],
    });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn imports_in(file: &str, text: &str) -> Vec<Import> {
    let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("host/src/{file}: {e}"));
    let module = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    let mut reader = ImportReader { file, imports: Vec::new() };
    reader.read_module(&tokens.into_iter().collect::<Vec<_>>(), &module);
    reader.imports
}

struct ImportReader<'f> {
    file: &'f str,
    imports: Vec<Import>,
}

impl ImportReader<'_> {
    /// Reads the paths in the tokens of a module and of its inner modules. Skips items with
    /// `#[cfg(test)]`.
    fn read_module(&mut self, tokens: &[TokenTree], module: &Vec<String>) {
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            if is_cfg_test(&tokens[index..]) {
                index += item_token_count(&tokens[index..]);
                continue;
            }
            match (token, tokens.get(index + 1), tokens.get(index + 2)) {
                (
                    TokenTree::Ident(keyword),
                    Some(TokenTree::Ident(name)),
                    Some(TokenTree::Group(body)),
                ) if keyword == "mod" => {
                    let inner = [module.as_slice(), &[name.to_string()]].concat();
                    self.read_module(&body.stream().into_iter().collect::<Vec<_>>(), &inner);
                    index += 3;
                }
                (TokenTree::Ident(_), ..) => index += self.read_path(&tokens[index..], module, &[]),
                (TokenTree::Group(group), ..) => {
                    self.read_module(&group.stream().into_iter().collect::<Vec<_>>(), module);
                    index += 1;
                }
                _ => index += 1,
            }
        }
    }

    /// Reads one path, including the braces of a `use`. Returns the number of the path's tokens.
    fn read_path(
        &mut self,
        tokens: &[TokenTree],
        module: &Vec<String>,
        prefix: &[String],
    ) -> usize {
        let (mut path, mut index, mut line) = (prefix.to_vec(), 0, 0);
        loop {
            match tokens.get(index) {
                Some(TokenTree::Ident(name)) => {
                    line = name.span().start().line;
                    path.push(name.to_string());
                    index += 1;
                }
                Some(TokenTree::Group(group))
                    if group.delimiter() == Delimiter::Brace && index > 0 =>
                {
                    let items = group.stream().into_iter().collect::<Vec<_>>();
                    for item in items.split(|token| is_punct(Some(token), ',')) {
                        self.read_path(item, module, &path);
                    }
                    return index + 1;
                }
                _ => break,
            }
            let (colon, second) = (tokens.get(index), tokens.get(index + 1));
            if !(is_punct(colon, ':') && is_joint(colon) && is_punct(second, ':')) {
                break;
            }
            index += 2;
        }
        if path.len() > 1 {
            let path = path_from_crate(path, module);
            self.imports.push(Import { file: self.file.to_owned(), line, path });
        }
        index.max(1)
    }
}

/// Returns a path of the host from the root of the crate, and any other path unchanged. Replaces
/// `self`, `super` and `jackfield`, the name by which `main.rs` imports the library.
fn path_from_crate(path: Vec<String>, module: &[String]) -> Vec<String> {
    let super_count = path.iter().take_while(|part| *part == "super").count();
    let base = match path[0].as_str() {
        "super" => module.get(..module.len().saturating_sub(super_count)).unwrap_or_default(),
        "self" => module,
        "jackfield" => &[],
        _ => return path,
    };
    let rest = path.into_iter().skip(super_count.max(1));
    ["crate".to_owned()].into_iter().chain(base.iter().cloned()).chain(rest).collect()
}

fn is_punct(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

/// Tells whether this is a punctuation mark that another one follows without a space.
fn is_joint(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.spacing() == Spacing::Joint)
}

fn is_cfg_test(tokens: &[TokenTree]) -> bool {
    match tokens {
        [hash, TokenTree::Group(attribute), ..] if is_punct(Some(hash), '#') => {
            let text = attribute.stream().to_string().replace(' ', "");
            text == "cfg(test)" || text.starts_with("cfg(all(test,")
        }
        _ => false,
    }
}

/// Counts the tokens of the first item in `tokens`, including its attributes. An item ends after
/// its braces or its semicolon.
fn item_token_count(tokens: &[TokenTree]) -> usize {
    let end = tokens.iter().position(|token| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        other => is_punct(Some(other), ';'),
    });
    end.map_or(tokens.len(), |end| end + 1)
}

#[test]
fn rooms_import_only_the_rooms_and_crates_that_the_rules_allow() {
    let imports = imports_of_the_host(&jackfield_tests::root().join("host/src"));
    assert!(imports.len() > 1_000, "only {} paths were read", imports.len());
    let found = violations(&imports);
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_layer_check_finds_each_kind_of_violation() {
    for (file, source, expected) in [
        ("store.rs", "\nuse crate::http::Problem;", "host/src/store.rs:2: `crate::http::Problem`"),
        (
            "store.rs",
            "use super::{domain::Clock, plugins};",
            "`plugins` is in a layer above `store`",
        ),
        ("store/a.rs", "use super::super::plugins::X;", "`plugins` is in a layer above `store`"),
        ("store/a.rs", "fn f() { crate::plugins::f() }", "`plugins` is in a layer above `store`"),
        ("store/a.rs", "debug!(\"{}\", crate::plugins::f())", "is in a layer above"),
        ("store/a.rs", "mod b { use super::super::super::plugins::X; }", "is in a layer above"),
        ("egress.rs", "use crate::manifest::Schema;", "`egress` imports only domain"),
        ("api.rs", "use crate::config::Config;", "`api` imports only domain"),
        ("attic.rs", "use crate::domain::Clock;", "`attic` or `domain` has no layer"),
        ("defects.rs", "use axum::Router;", "`axum` is used in console and http and"),
        (
            "http/serve.rs",
            "use hyper_util::client::Client;",
            "`hyper_util` is used in egress and transport only",
        ),
        ("http/serve.rs", "use hyper_util::server::conn::auto;", ""),
        ("http.rs", "use axum::{Router, routing::get};", ""),
        ("main.rs", "use jackfield::cli::run;", ""),
        ("store/a.rs", "use super::columns::X; use self::b::Y; use std::fs;", ""),
        ("store.rs", "#[cfg(test)]\nmod tests { use crate::http::Problem; }", ""),
        ("fuzz.rs", "use crate::cli::run; use axum::Router;", ""),
    ] {
        let found = violations(&imports_in(file, source)).join("\n");
        let is_expected =
            if expected.is_empty() { found.is_empty() } else { found.contains(expected) };
        assert!(is_expected, "{source:?} in {file}: {found:?}");
    }
    let mut circle = imports_in("defects.rs", "use crate::kpis::A;");
    assert_eq!(violations(&circle).len(), 0);
    circle.extend(imports_in("kpis.rs", "use crate::defects::B;"));
    let found = violations(&circle).join("\n");
    assert!(found.contains("`defects` and `kpis` are in a circle"), "{found:?}");
}

//! Import cycles between the files of a crate, and between its folders.
//!
//! Files are nodes; there is an edge where one imports from another. Re-exports are followed to the file that defines the
//! item. So a module's own file (`lib.rs`, `main.rs`, `mod.rs`) may re-export what its submodules share, but not define it:
//! that belongs in a file of its own. Inline modules are part of their file.
//!
//! The submodules of each module, with all below them, are nodes of a second graph: two folders can import from each other
//! without a cycle of files.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    iter,
};

use crate::{File, lexer::tokens};

/// A module's path within its crate; the root is empty.
type Path = Vec<String>;

/// From which module to which, with an import that makes the edge.
type Edges = BTreeMap<(Path, Path), String>;

/// The modules of one crate, with what each imports.
struct Tree<'a> {
    name: &'a str,
    modules: BTreeMap<Path, Module>,
}

struct Module {
    tokens: Vec<String>,
    /// Names that `use` brings in, with their paths.
    imports: BTreeMap<String, Path>,
    /// All paths that begin with `crate`, `self`, `super` or a submodule.
    paths: Vec<Path>,
}

/// Describes every cycle.
#[must_use]
pub fn check(files: &[File]) -> Vec<String> {
    roots(files).into_iter().flat_map(|(name, files)| Tree::new(name, &files).cycles()).collect()
}

/// Each library, or program where there is none, with its files by module.
fn roots(files: &[File]) -> BTreeMap<&str, Vec<(Path, &str)>> {
    let folders: BTreeSet<&str> = files
        .iter()
        .filter_map(|file| file.path.strip_suffix("/lib.rs").or(file.path.strip_suffix("/main.rs")))
        .collect();
    let mut roots = BTreeMap::<&str, Vec<(Path, &str)>>::new();
    for file in files {
        let Some(path) = file.path.strip_suffix(".rs") else { continue };
        let root = folders
            .iter()
            .filter(|folder| path.strip_prefix(**folder).is_some_and(|rest| rest.starts_with('/')));
        let Some(root) = root.max_by_key(|folder| folder.len()) else { continue };
        let mut module: Path = path[root.len() + 1..].split('/').map(str::to_owned).collect();
        let has_library = files.iter().any(|file| file.path == format!("{root}/lib.rs"));
        match module.last().map(String::as_str) {
            Some("main") if module.len() == 1 && has_library => continue,
            Some("lib" | "main") if module.len() == 1 => module.clear(),
            Some("mod") => drop(module.pop()),
            _ => {}
        }
        roots.entry(root).or_default().push((module, &file.text));
    }
    roots
}

impl<'a> Tree<'a> {
    fn new(name: &'a str, files: &[(Path, &str)]) -> Self {
        let mut modules = BTreeMap::new();
        for (path, text) in files {
            let module = Module { tokens: tokens(text), imports: BTreeMap::new(), paths: Vec::new() };
            modules.insert(path.clone(), module);
        }
        let known: BTreeSet<Path> = modules.keys().cloned().collect();
        for (path, module) in &mut modules {
            let is_child = |name: &str| known.contains(&[path.as_slice(), &[name.to_owned()]].concat());
            module.find_paths(is_child);
        }
        Self { name, modules }
    }

    fn cycles(&self) -> BTreeSet<String> {
        let (mut files, mut folders) = (Edges::new(), Edges::new());
        for (from, module) in &self.modules {
            for path in &module.paths {
                let Some(to) = self.resolve(from, path, 0).filter(|to| to != from) else { continue };
                let import = format!("{} imports {}", show(from), path.join("::"));
                let shared = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
                if shared < from.len().min(to.len()) {
                    // The submodules of the lowest module that holds both.
                    let edge = (from[..=shared].to_vec(), to[..=shared].to_vec());
                    folders.entry(edge).or_insert_with(|| import.clone());
                }
                files.entry((from.clone(), to)).or_insert(import);
            }
        }
        [files, folders].iter().flat_map(find_cycles).map(|cycle| format!("{}: {cycle}", self.name)).collect()
    }

    /// The module whose file defines what `path` names, seen from `from`.
    fn resolve(&self, from: &Path, path: &[String], depth: usize) -> Option<Path> {
        let (mut module, mut rest) = (from.clone(), path);
        while let [first, others @ ..] = rest {
            match first.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => drop(module.pop()?),
                _ => break,
            }
            rest = others;
        }
        for (at, name) in rest.iter().enumerate() {
            let child = [module.as_slice(), std::slice::from_ref(name)].concat();
            if self.modules.contains_key(&child) {
                module = child;
            } else if let Some(import) = self.modules.get(&module)?.imports.get(name).filter(|_| depth < 8) {
                let path = [import.as_slice(), &rest[at + 1..]].concat();
                return self.resolve(&module, &path, depth + 1);
            } else {
                break;
            }
        }
        self.modules.contains_key(&module).then_some(module)
    }
}

impl Module {
    fn find_paths(&mut self, is_child: impl Fn(&str) -> bool) {
        let tokens = std::mem::take(&mut self.tokens);
        let word = |at: usize| tokens.get(at).map_or("", String::as_str);
        // Of each open brace, whether it is that of an inline module.
        let mut braces = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let begins = ["crate", "self", "super"].contains(&word(at)) || is_child(word(at));
            if word(at) == "pub" && word(at + 1) == "(" {
                // A visibility is no import.
                at += tokens[at..].iter().take_while(|token| *token != ")").count();
            } else if begins && word(at + 1) == "::" && !["::", "$"].contains(&word(at.wrapping_sub(1))) {
                let in_use = word(at.wrapping_sub(1)) == "use";
                // The first `super`s lead out of the inline modules, to this file.
                let inline = braces.iter().filter(|is_module| **is_module).count();
                at += 2 * (0..inline).take_while(|depth| word(at + 2 * depth) == "super").count();
                at = self.tree(&tokens, at, Vec::new(), in_use);
            } else if word(at) == "use" && word(at + 1) == "{" {
                at = self.tree(&tokens, at + 1, Vec::new(), true);
            } else {
                match word(at) {
                    "{" => braces.push(word(at.wrapping_sub(2)) == "mod"),
                    "}" => drop(braces.pop()),
                    _ => {}
                }
                at += 1;
            }
        }
        let outside = |path: &Path| {
            path.first()
                .is_none_or(|first| !["crate", "self", "super"].contains(&first.as_str()) && !is_child(first))
        };
        self.paths.retain(|path| !outside(path));
        self.imports.retain(|_, path| !outside(path));
    }

    /// Reads a path or a tree of them that begins at a token; returns where it ends.
    fn tree(&mut self, tokens: &[String], mut at: usize, mut path: Path, in_use: bool) -> usize {
        let word = |at: usize| tokens.get(at).map_or("", String::as_str);
        loop {
            if word(at) == "{" {
                at += 1;
                while !["}", ""].contains(&word(at)) {
                    at = if word(at) == "," { at + 1 } else { self.tree(tokens, at, path.clone(), in_use) };
                }
                return at + 1;
            }
            // `a::{self}` is `a`.
            if word(at) != "self" || path.is_empty() {
                path.push(word(at).to_owned());
            }
            at += 1;
            if word(at) != "::" {
                break;
            }
            at += 1;
        }
        let mut name = path.last().cloned().unwrap_or_default();
        if word(at) == "as" {
            word(at + 1).clone_into(&mut name);
            at += 2;
        }
        if in_use {
            self.imports.insert(name, path.clone());
        }
        self.paths.push(path);
        at
    }
}

/// One cycle through each edge that lies on one, without repetitions.
fn find_cycles(edges: &Edges) -> Vec<String> {
    let mut cycles = BTreeMap::<BTreeSet<&Path>, String>::new();
    for (from, to) in edges.keys() {
        let Some(back) = shortest_path(edges, to, from) else { continue };
        let steps = iter::once(from).chain(back.iter().copied()).zip(&back);
        let imports: Vec<_> =
            steps.map(|(from, to)| edges[&(from.clone(), (*to).clone())].as_str()).collect();
        cycles.entry(back.iter().copied().collect()).or_insert_with(|| imports.join(", "));
    }
    cycles.into_values().collect()
}

/// The nodes of the shortest way, with both ends.
fn shortest_path<'a>(edges: &'a Edges, from: &'a Path, to: &Path) -> Option<Vec<&'a Path>> {
    let mut seen = BTreeSet::from([from]);
    let mut queue = VecDeque::from([vec![from]]);
    while let Some(nodes) = queue.pop_front() {
        let last = nodes[nodes.len() - 1];
        if last == to {
            return Some(nodes);
        }
        for (_, next) in edges.keys().filter(|(source, _)| source == last) {
            if seen.insert(next) {
                queue.push_back([nodes.as_slice(), &[next]].concat());
            }
        }
    }
    None
}

fn show(path: &Path) -> String {
    if path.is_empty() { "the root".to_owned() } else { path.join("::") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycles(files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        check(&files.iter().map(file).collect::<Vec<_>>())
    }

    #[test]
    fn cycle_through_a_re_export_is_found() {
        let files = [
            ("a/src/lib.rs", "mod one; mod two; pub use one::One;"),
            ("a/src/one.rs", "use super::two::{self, Two}; pub struct One;"),
            ("a/src/two.rs", "use crate::One; pub struct Two;"),
        ];
        assert_eq!(cycles(&files), ["a/src: one imports super::two, two imports crate::One"]);
    }

    #[test]
    fn cycle_between_folders_is_found() {
        let files = [
            ("a/src/lib.rs", "mod one; mod two;"),
            ("a/src/one/mod.rs", "mod x; mod y;"),
            ("a/src/one/x.rs", "use crate::two::X;"),
            ("a/src/one/y.rs", "pub struct Y;"),
            ("a/src/two/mod.rs", "pub struct X; mod z;"),
            ("a/src/two/z.rs", "fn f() { crate::one::y::g() }"),
        ];
        assert_eq!(cycles(&files).len(), 1, "{:?}", cycles(&files));
    }

    #[test]
    fn cycle_of_module_and_submodule_is_found() {
        let files = [
            ("a/src/lib.rs", "mod one;"),
            ("a/src/one/mod.rs", "mod x; pub use x::X; pub struct S;"),
            ("a/src/one/x.rs", "use super::S; pub struct X;"),
        ];
        assert_eq!(cycles(&files), ["a/src: one imports x::X, one::x imports super::S"]);
    }

    #[test]
    fn items_of_re_exporting_modules_are_no_cycle() {
        let files = [
            ("a/src/main.rs", "mod one; use one::{S, X};"),
            ("a/src/one/mod.rs", "mod s; mod x; pub use s::S; pub use x::X;"),
            ("a/src/one/s.rs", "pub struct S;"),
            ("a/src/one/x.rs", "use crate::one::S; pub struct X;"),
        ];
        assert_eq!(cycles(&files), [""; 0]);
    }

    #[test]
    fn inline_modules_are_part_of_their_file() {
        let files = [
            ("a/src/main.rs", "mod one; use one::f;"),
            ("a/src/one.rs", "fn f() {} mod x { use super::f; mod y { fn g() { super::super::f() } } }"),
        ];
        assert_eq!(cycles(&files), [""; 0]);
        let outside =
            [("a/src/main.rs", "mod one; use one::f;"), ("a/src/one.rs", "mod x { use super::super::S; }")];
        assert_eq!(cycles(&outside).len(), 1);
    }

    #[test]
    fn downward_imports_visibilities_and_unit_tests_are_no_cycle() {
        let files = [
            ("a/src/lib.rs", "mod one; mod two; pub use self::{one::One, two::Two};"),
            ("a/src/one.rs", "use crate::two::Two; // crate::lib\npub(in crate::one) struct One;"),
            ("a/src/two.rs", "pub struct Two;\n#[cfg(test)]\nmod tests { use crate::one::One; }"),
        ];
        assert_eq!(cycles(&files), [""; 0]);
    }
}

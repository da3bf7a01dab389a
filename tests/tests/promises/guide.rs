//! Checks of the author's guide. The page of the contract must equal the text that is generated
//! from `wit/connector.wit`. Each link must lead to a page that exists.

mod commands;

use std::fs;
use std::path::{Path, PathBuf};

use jackfield_tests::root;
use wit_bindgen_core::Files;
use wit_bindgen_core::wit_parser::Resolve;

/// The world of the contract that contains every interface.
const WORLD: &str = "follow-up-connector";
const PAGE_PATH: &str = "docs/connectors/contract.md";

/// With `UPDATE_DOCS=1`, the test writes the generated page into the repository before it compares
/// the two pages.
#[test]
fn the_page_of_the_contract_is_up_to_date() {
    let (page, path) = (generate_contract_page(), root().join(PAGE_PATH));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &page).expect("the page is written");
    }
    let stored = fs::read_to_string(&path).expect(PAGE_PATH);
    let fix = "run `UPDATE_DOCS=1 cargo xtask test the_page_of_the_contract`";
    assert!(stored == page, "{PAGE_PATH} differs from wit/connector.wit: {fix}");
}

fn generate_contract_page() -> String {
    let mut resolve = Resolve::default();
    let wit = fs::read_to_string(root().join("wit/connector.wit")).expect("the WIT");
    let package = resolve.push_str("connector.wit", &wit).expect("valid WIT");
    let manual = resolve.packages[package].docs.contents.clone().expect("the package has comments");
    let world = resolve.select_world(&[package], Some(WORLD)).expect("the world");
    let mut files = Files::default();
    let mut generator = wit_bindgen_markdown::Opts::default().build();
    generator.generate(&mut resolve, world, &mut files).expect("a page");
    let (_, page) = files.iter().find(|(name, _)| name.ends_with(".md")).expect("a Markdown file");
    let page = String::from_utf8(page.to_vec()).expect("UTF-8");
    // The first line is the generator's own heading, which is left out.
    let (_, page) = page.split_once('\n').expect("lines");
    let lines = page.lines().map(|line| line.trim_end().replace("  <p>", "  "));
    let page = lines.collect::<Vec<_>>().join("\n");
    format!(
        "# The contract\n\nThis page is generated from [`wit/connector.wit`](../../wit/connector.wit). \
         [The guide](../connectors.md) says how to begin.\n\n{}\n\n## The world `{WORLD}`\n{}\n",
        manual.trim(),
        page.trim_end()
    )
}

#[test]
fn each_link_between_pages_leads_to_an_existing_page_and_heading() {
    let mut pages = vec![root().join("README.md"), root().join("guest-examples/README.md")];
    pages.extend(markdown_files_below(&root().join("docs")));
    assert!(pages.len() >= 7, "{pages:?}");
    let broken: Vec<_> = pages.iter().flat_map(|page| broken_links(page)).collect();
    assert_eq!(broken, Vec::<String>::new());
}

fn markdown_files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let found = entries.flat_map(|entry| match entry.path() {
        path if path.is_dir() => markdown_files_below(&path),
        path => vec![path],
    });
    found.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

/// A link is broken if its file does not exist, or if the file does not contain the heading of the
/// link. Links to other sites are not checked.
fn broken_links(page: &Path) -> Vec<String> {
    let text = fs::read_to_string(page).expect("a page");
    // Code blocks are left out, because the brackets in code and templates are not links.
    let prose: String = text.split("```").flat_map(|part| part.split("~~~")).step_by(2).collect();
    let folder = page.parent().expect("a folder");
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let broken = targets.filter(|target| !target.contains("://")).filter(|target| {
        let (file, heading) = target.split_once('#').unwrap_or((target, ""));
        let path = if file.is_empty() { page.to_owned() } else { folder.join(file) };
        match fs::read_to_string(&path) {
            Ok(text) if !heading.is_empty() => {
                let mut headings = text.lines().filter(|line| line.starts_with('#'));
                !headings.any(|line| anchor_of_heading(line) == heading)
                    && !text.contains(&format!("<a id=\"{heading}\">"))
            }
            Ok(_) => false,
            // A picture or a folder exists, but cannot be read as text.
            Err(_) => !path.exists(),
        }
    });
    broken.map(|target| format!("{}: {target}", page.display())).collect()
}

/// Returns the anchor by which a link refers to a heading.
fn anchor_of_heading(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

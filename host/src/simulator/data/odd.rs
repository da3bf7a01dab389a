//! A project with difficult texts: markup of many kinds, right-to-left, invisible, very long and
//! empty texts. It shows whether code prints, escapes and stores texts of tests correctly.

use super::contents::{CaseContent, ProjectContent, case};

/// Texts for test cases: each one is the name, the description and the failure of its test case.
const TEXTS: [&str; 9] = [
    "<b>Sign in</b> <img src=x onerror=alert(1)> <script>alert(2)</script> &amp; \"quoted\" ]]>",
    "# Heading\n- [link](javascript:alert(1)) ![x](http://localhost/x.png)\n```\n| a | ~~b~~ | <!--",
    "h1. *Bold* _em_ \"link\":http://localhost !image.png! {{include(Wiki)}} @code@ <pre> #1 r2",
    "{code}x{code} [~admin] {color:red}red{color} [link|http://localhost] !x.png! ||head|| {panel}",
    "{{ 7 * 7 }} {% for x in y %} ${HOME} $(id) `id` %s %n #{1 + 1} <%= 1 %> @everyone @admin",
    "\u{5d1}\u{5d3}\u{5d9}\u{5e7}\u{5ea} \u{202e}gnp.exe\u{202c} \u{627}\u{644}\u{62f}\u{641}\u{639}",
    "a\u{200b}b\u{feff}c\u{0}d\u{7}e\u{1b}[31mf\u{85}g\u{ad}h\u{2028}i\u{e0041}j e\u{301}\u{302}\u{303}",
    "",
    " \t\r\n ",
];

const FILES: [&str; 6] = [
    "../../etc/passwd",
    "C:\\Windows\\win.ini",
    "a\"b;c\r\nX: y.txt",
    "\u{540d}\u{524d} \u{1f4f7}.png",
    "",
    "<script>.svg",
];

/// Length of the very long name and description, characters.
const LONG_NAME_CHARS: usize = 2_000;
const LONG_TEXT_CHARS: usize = 100_000;
const LONG_ROBOT_LOG_LINES: usize = 2_500;

pub(super) fn project() -> ProjectContent {
    let mut cases: Vec<_> = TEXTS.iter().map(|text| difficult(text)).collect();
    cases.push(long());
    cases.push(with_variations());
    ProjectContent {
        prefix: "ODD",
        name: "Odd <texts> & \"names\"",
        description: "Texts that break whatever does not escape them.",
        requirements: &["<i>Escaped</i> everywhere", ""],
        test_sets: &["*Odd* [set](x) <b>"],
        cases,
    }
}

fn difficult(text: &str) -> CaseContent {
    let mut odd = case(text).about(text, text).fails(text).labelled(&[text]).with_files(&FILES);
    odd.fields = vec![(text.to_owned(), text.to_owned())];
    odd
}

fn long() -> CaseContent {
    let words = "a very long text \u{1f600} ".repeat(LONG_TEXT_CHARS / 19 + 1);
    let take = |chars| words.chars().take(chars).collect::<String>();
    let mut long = case(take(LONG_NAME_CHARS)).fails(take(LONG_TEXT_CHARS));
    long.description = Some(take(LONG_TEXT_CHARS));
    long.files = vec![format!("{}.txt", "n".repeat(300))];
    long.labels = (0..100).map(|number| format!("label {number}")).collect();
    long.robot_log_lines = LONG_ROBOT_LOG_LINES;
    long
}

/// A test case whose variations have similar ids, to find code that confuses them.
fn with_variations() -> CaseContent {
    let variations = ["row 1", "row 10", "ROW 1", "row 1 ", "", "<b>row</b>"];
    let mut varied = case("Variations that differ little").fails("Wrong").varied(&variations);
    varied.all_fail = true;
    varied
}

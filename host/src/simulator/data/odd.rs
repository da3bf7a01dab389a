//! A project with difficult texts: markup of many kinds, and right-to-left, invisible, very long
//! and empty texts. Tests use it to find code that does not print, escape or store texts of failed
//! tests correctly.

use super::contents::{CaseContent, ProjectContent, passing_case};

/// Each text is the name, the description and the failure of a test case.
const ODD_TEXTS: [&str; 9] = [
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

const ODD_FILE_NAMES: [&str; 6] = [
    "../../etc/passwd",
    "C:\\Windows\\win.ini",
    "a\"b;c\r\nX: y.txt",
    "\u{540d}\u{524d} \u{1f4f7}.png",
    "",
    "<script>.svg",
];
const LONG_NAME_CHARS: usize = 2_000;
/// Length of the very long description and failure, characters.
const LONG_TEXT_CHARS: usize = 100_000;
const LONG_ROBOT_LOG_LINES: usize = 2_500;

pub(super) fn odd_project() -> ProjectContent {
    let mut cases: Vec<_> = ODD_TEXTS.iter().map(|text| case_with_text(text)).collect();
    cases.push(long_case());
    cases.push(case_with_similar_variations());
    ProjectContent {
        prefix: "ODD",
        name: "Odd <texts> & \"names\"",
        description: "Texts that break programs which do not escape them.",
        requirements: &["<i>Escaped</i> everywhere", ""],
        test_sets: &["*Odd* [set](x) <b>"],
        cases,
    }
}

fn case_with_text(text: &str) -> CaseContent {
    let mut odd = passing_case(text)
        .with_description(text, text)
        .failing_with(text)
        .with_labels(&[text])
        .with_files(&ODD_FILE_NAMES);
    odd.custom_fields = vec![(text.to_owned(), text.to_owned())];
    odd
}

fn long_case() -> CaseContent {
    let words = "a very long text \u{1f600} ".repeat(LONG_TEXT_CHARS / 19 + 1);
    let prefix = |chars| words.chars().take(chars).collect::<String>();
    let mut long = passing_case(prefix(LONG_NAME_CHARS)).failing_with(prefix(LONG_TEXT_CHARS));
    long.description = Some(prefix(LONG_TEXT_CHARS));
    long.files = vec![format!("{}.txt", "n".repeat(300))];
    long.labels = (0..100).map(|number| format!("label {number}")).collect();
    long.robot_log_lines = LONG_ROBOT_LOG_LINES;
    long
}

/// Tests use these variations to find code that confuses variations with similar ids.
fn case_with_similar_variations() -> CaseContent {
    let variations = ["row 1", "row 10", "ROW 1", "row 1 ", "", "<b>row</b>"];
    let mut varied = passing_case("Variations that differ little")
        .failing_with("Wrong")
        .with_variations(&variations);
    varied.all_variations_fail = true;
    varied
}

//! Property tests with random values in texts.

use std::collections::BTreeSet;

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag};
use regex::Regex;

use crate::domain::Marker;

use super::*;

/// Texts that trackers read as markup.
const MARKUP_SAMPLES: [&str; 46] = [
    "{code}",
    "{noformat}",
    "{noformat:x}",
    "h1. ",
    "bq. ",
    "<script>alert(1)</script>",
    "[[Include(x)]]",
    "{{macro(x)}}",
    "!image.png!",
    "#123",
    "@user",
    "[~user]",
    "`",
    "```",
    "~~~",
    "}}}",
    "{{{",
    "\n#!html\n",
    "</pre>",
    "<PRE>",
    "</code>",
    "\n",
    "\n\n",
    "    ",
    "* ",
    "1. ",
    "- ",
    "> ",
    "[a](javascript:x)",
    "\"l\":http://x.example",
    "[l|http://x.example]",
    "&lt;",
    "\\",
    "\\\\",
    "r12",
    "r12²",
    "²r12",
    "WikiPage",
    "ticket:1",
    "----",
    "|a|b|",
    "~x~",
    "\n/close",
    "==x==",
    "'''b'''",
    "**b**",
];
/// A text with `A` in each place where a value can be, and with `B` as the address of a link.
const TEXT_WITH_ALL_PLACES: &str = "# A\n\nA **A** *A* `A` [A](B)\n\n- A\n  - A\n\n    A\n\n1. A\n\n> A\n>\n> - A\n\n\
                      ```\nA\n```\n\n<b>A</b>\n";

/// Parses a text that contains a value in each place where a value can be.
fn document_with_all_places(value: &str, url: &str) -> Document {
    let placeholders = [placeholder::for_value(0), placeholder::for_value(1)];
    let text = TEXT_WITH_ALL_PLACES.replace('A', &placeholders[0]).replace('B', &placeholders[1]);
    Document::parse(&ExpandedTemplate { text, values: vec![value.to_owned(), url.to_owned()] })
}

/// Creates random values from markup, letters and other characters.
fn any_value() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => proptest::sample::select(MARKUP_SAMPLES.as_slice()).prop_map(str::to_owned),
        2 => "[a-zA-Z0-9 .,:_-]{1,6}",
        1 => any::<char>().prop_filter("the host removes or adds these characters", |c| {
            !c.is_control() && !('\u{e000}'..='\u{e001}').contains(c) && *c != '\u{2060}'
        }).prop_map(String::from),
    ];
    proptest::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

/// Creates random markers. Many markers begin like markup, for example like a revision or a
/// heading.
fn any_marker() -> impl Strategy<Value = String> {
    ("r|h|p|bq|[a-z2-9]", "[2-9]{0,3}", "[a-z2-9]{26}").prop_map(|(letter, number, rest)| {
        format!("{letter}{number}{rest}").chars().take(Marker::LENGTH).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_fits_the_limit_and_has_the_marker_in_its_first_line(
        value in any_value(), max in 0_u32..1_500, marker in any_marker(),
    ) {
        let document = document_with_all_places(&value, &value);
        for markup in Markup::ALL {
            let marked = render(&document, *markup, max, Some(&marker));
            match &marked {
                Ok(text) => {
                    prop_assert!(text.chars().count() <= max as usize, "{}", markup);
                    let first = text.lines().next().unwrap_or_default();
                    prop_assert!(first.contains(&marker), "{markup}: {first}");
                }
                Err(_) => prop_assert!(max < 200, "{markup}: {max}"),
            }
            let plain = render(&document, *markup, max, None);
            let texts = [marked.ok(), plain.ok()];
            for text in texts.into_iter().flatten() {
                check_markup(*markup, &text)?;
            }
        }
    }

}

proptest! {
    #[test]
    fn any_value_is_text_in_markdown(value in any_value()) {
        let text = render_uncut(&document_with_value(&value, "A"), Markup::Markdown);
        for event in Parser::new_ext(&text, Options::all()) {
            let allowed = matches!(
                event,
                Event::Text(_) | Event::SoftBreak | Event::HardBreak | Event::End(_)
                    | Event::Start(Tag::Paragraph)
            );
            prop_assert!(allowed, "{event:?} in {text:?}");
        }
        prop_assert!(!text.lines().any(|line| line.starts_with('/')), "{text:?}");
        let mention = Regex::new(r"[@#][A-Za-z0-9]").expect("a pattern");
        prop_assert!(!mention.is_match(&text), "{text:?}");
        let code = render_uncut(&document_with_value(&value, "```\nA\n```"), Markup::Markdown);
        let is_text = |event: &Event<'_>| matches!(event, Event::Text(_));
        let kinds: Vec<_> = Parser::new(&code).filter(|event| !is_text(event)).collect();
        prop_assert!(kinds.len() <= 2, "{kinds:?}");
    }

    #[test]
    fn any_value_is_text_in_wiki_markups(value in any_value()) {
        let block = Regex::new(r"^\w+\.").expect("a pattern");
        let special = Regex::new(
            r"[^\w\s.,;'/:\x01-]|:\S|\br[0-9]+\b|(?:^|[^\pL\pN])[-_]|[-_](?:$|[^\pL\pN\x01])",
        );
        let special = special.expect("a pattern");
        let reference = Regex::new("&#[0-9]{2,3};").expect("a pattern");
        for markup in [Markup::Textile, Markup::JiraWiki] {
            let text = render_uncut(&document_with_value(&value, "A"), markup);
            for line in reference.replace_all(&text, "\u{1}").lines() {
                let first = line.chars().next();
                prop_assert!(first.is_none_or(|c| !c.is_ascii_punctuation()), "{text:?}");
                prop_assert!(!block.is_match(line), "{text:?}");
                let found = special.find_iter(line);
                let ascii: Vec<_> = found.filter(|found| found.as_str().is_ascii()).collect();
                prop_assert!(ascii.is_empty(), "{ascii:?} in {text:?}");
            }
        }
        let trac = render_uncut(&document_with_value(&value, "A"), Markup::Tracwiki);
        let code = Regex::new(r"\{\{\{`\}\}\}|`[^`]*`|\[\[BR\]\]").expect("a pattern");
        let plain = Regex::new(r"^[^[:punct:]]*[,.:;?]?$").expect("a pattern");
        for word in code.replace_all(&trac, " ").split_whitespace() {
            prop_assert!(plain.is_match(word), "{word:?} in {trac:?}");
        }
    }
}

/// Checks the structure of a text: tags and blocks of code are closed, and JSON nodes are valid.
fn check_markup(markup: Markup, text: &str) -> Result<(), TestCaseError> {
    match markup {
        Markup::Html => {
            let tag = Regex::new(
                "</?(?:p|h1|ul|li|strong|em|code|pre|blockquote)>|<br>|</ol>|</a>|<ol start=\"1\">\
                 |<a href=\"(?:https?:|mailto:)[^\"<>]*\" rel=\"nofollow noopener noreferrer\">",
            );
            let rest = tag.expect("a pattern").replace_all(text, "").into_owned();
            prop_assert!(!rest.contains(['<', '>', '"', '\'']), "{text}");
            check_tags_are_closed(text)?;
        }
        Markup::Adf => {
            let json = serde_json::from_str::<serde_json::Value>(text);
            let json = json.map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(&json["type"], "doc");
            check_adf_nodes(&json)?;
        }
        Markup::JiraWiki => {
            prop_assert!(text.matches("{noformat}").count().is_multiple_of(2), "{text}")
        }
        Markup::Textile => {
            let (begin, end) = (text.matches("<pre>").count(), text.matches("</pre>").count());
            prop_assert_eq!(begin, end);
        }
        Markup::Tracwiki => {
            let lines = |fence| text.lines().filter(|line| *line == fence).count();
            prop_assert_eq!(lines("{{{"), lines("}}}"));
        }
        Markup::Plain | Markup::Markdown => {}
    }
    Ok(())
}

fn check_tags_are_closed(html: &str) -> Result<(), TestCaseError> {
    let tag = Regex::new("<(/?)([a-z0-9]+)").expect("a pattern");
    let mut open_tags = Vec::new();
    for captures in tag.captures_iter(html) {
        let name = captures[2].to_owned();
        if &captures[1] == "/" {
            prop_assert_eq!(open_tags.pop(), Some(name));
        } else if name != "br" && name != "hr" {
            open_tags.push(name);
        }
    }
    prop_assert!(open_tags.is_empty(), "{:?}", open_tags);
    Ok(())
}

/// Checks that text nodes are not empty, that lists contain only items, that an item begins with a
/// paragraph or code, and that a quote contains neither a heading nor a rule.
fn check_adf_nodes(node: &serde_json::Value) -> Result<(), TestCaseError> {
    let kind = node["type"].as_str().unwrap_or_default();
    let child_types: BTreeSet<_> = node["content"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|child| child["type"].as_str())
        .collect();
    match kind {
        "text" => prop_assert!(node["text"].as_str().is_some_and(|text| !text.is_empty())),
        "bulletList" | "orderedList" => prop_assert_eq!(child_types, BTreeSet::from(["listItem"])),
        "listItem" => {
            let first = node["content"][0]["type"].as_str();
            prop_assert!(matches!(first, Some("paragraph" | "codeBlock")));
        }
        "blockquote" => {
            prop_assert!(!child_types.contains("heading") && !child_types.contains("rule"))
        }
        _ => {}
    }
    for child in node["content"].as_array().into_iter().flatten() {
        check_adf_nodes(child)?;
    }
    Ok(())
}

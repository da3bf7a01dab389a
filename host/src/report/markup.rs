//! Writes the text of a report in the markup of a tracker. No value of a test is ever read as
//! markup.
//!
//! A document is parsed from CommonMark. Values are inserted only after the parsing, and each
//! renderer escapes characters that its tracker would read as markup. A tracker may still show a
//! web address in a value as a link.

mod adf;
mod cut;
mod document;
mod entities;
mod flat;
mod html;
mod jira_wiki;
mod markdown;
pub(super) mod placeholder;
mod plain;
#[cfg(test)]
mod tests;
mod textile;
mod tracwiki;
mod web_link;

use crate::domain::string_enum;

use super::engine::ExpandedTemplate;

pub(super) use document::Document;

string_enum! {
    /// The markup languages that trackers read.
    pub enum Markup {
        /// Text without markup.
        Plain = "plain",
        /// CommonMark, for example for GitHub and GitLab.
        Markdown = "markdown",
        /// HTML, for example for Azure DevOps.
        Html = "html",
        /// Textile, for example for Redmine.
        Textile = "textile",
        /// The wiki markup of Jira's REST API 2.
        JiraWiki = "jira-wiki",
        /// Atlassian Document Format, a JSON text for Jira's REST API 3.
        Adf = "adf",
        /// The wiki markup of Trac.
        Tracwiki = "tracwiki",
    }
}

/// The maximum length of a text is too small for the marker and the markup around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("max-characters = {characters_max} is too small for the marker and the markup around it")]
pub struct TextLimitTooSmall {
    /// The maximum length of the text, characters.
    pub characters_max: u32,
}

/// Renders a CommonMark text as HTML. HTML in the text is shown as text, and images become links. A
/// link whose address a report may not contain, such as one with another scheme than http, https or
/// mailto, becomes text.
#[must_use]
pub fn markdown_as_html(text: &str) -> String {
    let canonical = ExpandedTemplate { text: text.to_owned(), values: Vec::new() };
    html::render(&Document::parse(&canonical))
}

/// Renders the document in a markup. If a marker is given, the first line contains it. The document
/// is cut so that the text has at most `characters_max` characters (Unicode scalar values).
pub(super) fn render(
    document: &Document,
    markup: Markup,
    characters_max: u32,
    marker: Option<&str>,
) -> Result<String, TextLimitTooSmall> {
    let marker_line = marker.map(Document::marker_line);
    let max = usize::try_from(characters_max).unwrap_or(usize::MAX);
    let render = |part: Document| {
        let whole = Document::join(marker_line.clone(), part);
        let text = match markup {
            Markup::Plain => plain::render(&whole),
            Markup::Markdown => markdown::render(&whole),
            Markup::Html => html::render(&whole),
            Markup::Textile => textile::render(&whole),
            Markup::JiraWiki => jira_wiki::render(&whole),
            Markup::Adf => adf::render(&whole),
            Markup::Tracwiki => tracwiki::render(&whole),
        };
        (text.chars().count() <= max).then_some(text)
    };
    cut::longest_accepted(document, render).ok_or(TextLimitTooSmall { characters_max })
}

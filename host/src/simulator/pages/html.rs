//! Writes HTML, with texts from outside escaped.

use std::fmt::Display;

use crate::domain::is_web_address;

const STYLE: &str = "\
body{font:1rem/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}\
td,th{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0}td{overflow-wrap:anywhere}\
form{display:inline}dt{font-weight:bold}dd,pre,li,h1,h2,h3{overflow-wrap:anywhere}\
pre{white-space:pre-wrap}section{border-top:1px solid;margin-top:2rem}\
[role=status]{font-weight:bold}";

/// The HTML of a page, or of a part of a page.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup that this program wrote. Never pass a text from outside.
    pub(super) fn add_markup(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// The text is escaped for elements and for quoted attributes.
    pub(super) fn add_text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\0' => self.0.push('\u{fffd}'),
                c => self.0.push(c),
            }
        }
        self
    }

    pub(super) fn open_element(&mut self, element: &str, attributes: &str) -> &mut Self {
        let space = if attributes.is_empty() { "" } else { " " };
        self.add_markup(&format!("<{element}{space}{attributes}>"))
    }

    pub(super) fn close_element(&mut self, element: &str) -> &mut Self {
        self.add_markup(&format!("</{element}>\n"))
    }

    /// `element` is the name of the element, which attributes may follow. The element `bdi`
    /// isolates right-to-left texts.
    pub(super) fn add_text_element(&mut self, element: &str, text: &str) -> &mut Self {
        let name = element.split(' ').next().unwrap_or_default();
        self.add_markup(&format!("<{element}><bdi>"))
            .add_text(text)
            .add_markup("</bdi>")
            .close_element(name)
    }

    /// If the address is neither `/` nor a web address, adds only the text of the link.
    pub(super) fn add_link(&mut self, address: &str, text: &str) {
        let is_link = address == "/" || is_web_address(address);
        if is_link {
            self.add_markup("<a href=\"").add_text(address).add_markup("\">");
        }
        self.add_markup("<bdi>").add_text(text).add_markup("</bdi>");
        if is_link {
            self.close_element("a");
        }
    }

    /// Adds a sentence that screen readers announce.
    pub(super) fn add_status(&mut self, text: &str) {
        self.add_text_element("p role=status", text);
    }

    /// Adds a button that sends one field with POST. Screen readers also announce `record_name`,
    /// because a page has several buttons with the same text.
    pub(super) fn add_button(
        &mut self,
        action: &str,
        field: &str,
        value: impl Display,
        text: &str,
        record_name: &str,
    ) {
        self.open_element("form", &format!("method=post action={action}"));
        self.add_markup(&format!(
            "<input type=hidden name={field} value=\"{value}\"><button aria-label=\""
        ));
        self.add_text(&format!("{text} {record_name}"))
            .add_markup("\">")
            .add_text(text)
            .add_markup("</button>");
        self.close_element("form");
    }
}

pub(super) fn html_page(title: &str, body: Html) -> axum::response::Html<String> {
    let mut page = Html::default();
    page.add_markup("<!doctype html><html lang=en><meta charset=utf-8><title>").add_text(title);
    page.add_markup("</title><meta name=viewport content=\"width=device-width\"><style>")
        .add_markup(STYLE);
    page.add_markup("</style><main>")
        .add_text_element("h1", title)
        .add_markup(&body.0)
        .close_element("main");
    axum::response::Html(page.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_links_are_escaped() {
        let mut html = Html::default();
        html.add_text_element("td class=x", "<b>\"&'\0");
        html.add_link("javascript:alert(1)", "x");
        html.add_link("http://localhost/\"><b>", "y");
        let expected =
            "<td class=x><bdi>&lt;b&gt;&quot;&amp;&#39;\u{fffd}</bdi></td>\n<bdi>x</bdi>";
        assert!(html.0.starts_with(expected), "{}", html.0);
        assert!(!html.0.contains("\"><b>"), "{}", html.0);
    }
}

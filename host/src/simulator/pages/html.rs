//! Writes HTML. A text from outside is always escaped.

use std::fmt::Display;

use crate::domain::is_web_address;

const STYLE: &str = "\
body{font:1rem/1.5 system-ui;max-width:70rem;margin:2rem auto;padding:0 1rem}\
td,th{text-align:left;vertical-align:top;padding:.3rem 1rem .3rem 0}td{overflow-wrap:anywhere}\
form{display:inline}dt{font-weight:bold}dd,pre,li,h1,h2,h3{overflow-wrap:anywhere}\
pre{white-space:pre-wrap}section{border-top:1px solid;margin-top:2rem}\
[role=status]{font-weight:bold}";

/// A part of a page.
#[derive(Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup that this program wrote. Never pass a text from outside.
    pub(super) fn raw(&mut self, markup: &str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds a text, escaped for elements and quoted attributes.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
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

    pub(super) fn open(&mut self, element: &str, attributes: &str) -> &mut Self {
        let space = if attributes.is_empty() { "" } else { " " };
        self.raw(&format!("<{element}{space}{attributes}>"))
    }

    pub(super) fn close(&mut self, element: &str) -> &mut Self {
        self.raw(&format!("</{element}>\n"))
    }

    /// Adds an element with a text; `element` may have attributes. `bdi` isolates right-to-left
    /// texts.
    pub(super) fn text_element(&mut self, element: &str, text: &str) -> &mut Self {
        let name = element.split(' ').next().unwrap_or_default();
        self.raw(&format!("<{element}><bdi>")).text(text).raw("</bdi>").close(name)
    }

    /// Adds a link if the address is a web address; otherwise adds only the text.
    pub(super) fn link(&mut self, address: &str, text: &str) {
        let is_link = address == "/" || is_web_address(address);
        if is_link {
            self.raw("<a href=\"").text(address).raw("\">");
        }
        self.raw("<bdi>").text(text).raw("</bdi>");
        if is_link {
            self.close("a");
        }
    }

    /// Adds a sentence that screen readers announce.
    pub(super) fn status(&mut self, text: &str) {
        self.text_element("p role=status", text);
    }

    /// Adds a button that posts one field. Screen readers also announce `record_name`, because a
    /// page has several buttons with the same text.
    pub(super) fn button(
        &mut self,
        action: &str,
        field: &str,
        value: impl Display,
        text: &str,
        record_name: &str,
    ) {
        self.open("form", &format!("method=post action={action}"));
        self.raw(&format!(
            "<input type=hidden name={field} value=\"{value}\"><button aria-label=\""
        ));
        self.text(&format!("{text} {record_name}")).raw("\">").text(text).raw("</button>");
        self.close("form");
    }
}

/// Returns a complete HTML page.
pub(super) fn page(title: &str, body: Html) -> axum::response::Html<String> {
    let mut page = Html::default();
    page.raw("<!doctype html><html lang=en><meta charset=utf-8><title>").text(title);
    page.raw("</title><meta name=viewport content=\"width=device-width\"><style>").raw(STYLE);
    page.raw("</style><main>").text_element("h1", title).raw(&body.0).close("main");
    axum::response::Html(page.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_links_are_escaped() {
        let mut html = Html::default();
        html.text_element("td class=x", "<b>\"&'\0");
        html.link("javascript:alert(1)", "x");
        html.link("http://localhost/\"><b>", "y");
        let expected =
            "<td class=x><bdi>&lt;b&gt;&quot;&amp;&#39;\u{fffd}</bdi></td>\n<bdi>x</bdi>";
        assert!(html.0.starts_with(expected), "{}", html.0);
        assert!(!html.0.contains("\"><b>"), "{}", html.0);
    }
}

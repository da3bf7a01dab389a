//! Tests that values of a test are text in every markup, and that no text exceeds its maximum
//! length.

mod properties;

use crate::domain::StringEnum as _;
use crate::report::engine::ExpandedTemplate;

use super::*;

/// Parses a template in which the value replaces each `A`.
fn document_with_value(value: &str, template: &str) -> Document {
    let text = template.replace('A', &placeholder::for_value(0));
    Document::parse(&ExpandedTemplate { text, values: vec![value.to_owned()] })
}

fn render_uncut(document: &Document, markup: Markup) -> String {
    render(document, markup, u32::MAX, None).expect("a text")
}

#[test]
fn a_document_has_the_same_text_in_each_markup() {
    let text = "# Pay\n\nThe **total** of *100* is `wrong`, see\n[the log](https://tm.example/a_b).\n\n\
                - one\n  - deep\n- two\n\n1. first\n\n> so\n\n```\nx < y\n```\n";
    let document = Document::parse(&ExpandedTemplate { text: text.to_owned(), values: Vec::new() });
    for (markup, expected) in [
        (
            Markup::Plain,
            "Pay\n\nThe total of 100 is wrong, see the log (https://tm.example/a_b).\n\n\
             - one\n  - deep\n- two\n\n1. first\n\n> so\n\nx < y",
        ),
        (
            Markup::Markdown,
            "# Pay\n\nThe **total** of *100* is `wrong`, see [the log](<https://tm.example/a_b>).\n\n\
             - one\n  - deep\n- two\n\n1. first\n\n> so\n\n```\nx < y\n```",
        ),
        (
            Markup::Html,
            "<h1>Pay</h1>\n<p>The <strong>total</strong> of <em>100</em> is <code>wrong</code>, see \
             <a href=\"https://tm.example/a_b\" rel=\"nofollow noopener noreferrer\">the log</a>.</p>\n\
             <ul><li>one<ul><li>deep</li></ul></li><li>two</li></ul>\n\
             <ol start=\"1\"><li>first</li></ol>\n<blockquote><p>so</p></blockquote>\n\
             <pre><code>x &lt; y</code></pre>",
        ),
        (
            Markup::Textile,
            "h1. Pay\n\nThe *total* of _100_ is @wrong@, see \"the log\":https://tm.example/a_b .\n\n\
             * one\n** deep\n* two\n# first\n\nbq. so\n\n<pre>\nx < y\n</pre>",
        ),
        (
            Markup::JiraWiki,
            "h1. Pay\n\nThe *total* of _100_ is {{wrong}}, see [the log|https://tm.example/a_b].\n\n\
             * one\n** deep\n* two\n# first\n\nbq. so\n\n{noformat}\nx < y\n{noformat}",
        ),
        (
            Markup::Tracwiki,
            "= Pay =\n\nThe '''total''' of ''100'' is `wrong`, see [https://tm.example/a_b the log].\n\n \
             * one\n  * deep\n * two\n 1. first\n\n> so\n\n{{{\nx < y\n}}}",
        ),
    ] {
        assert_eq!(render_uncut(&document, markup), expected, "{markup}");
    }
    let adf: serde_json::Value =
        serde_json::from_str(&render_uncut(&document, Markup::Adf)).expect("JSON");
    let types: Vec<_> =
        adf["content"].as_array().expect("nodes").iter().map(|node| &node["type"]).collect();
    let expected = ["heading", "paragraph", "bulletList", "orderedList", "blockquote", "codeBlock"];
    assert_eq!(types, expected);
    assert_eq!(adf["content"][1]["content"][1]["marks"][0]["type"], "strong");
}

#[test]
fn markup_in_the_data_is_text() {
    for (markup, value, expected) in [
        (
            Markup::Markdown,
            "# h\n- [a](b) @user #12",
            "\\# h\\\n\\- \\[a\\](b) \\@\u{2060}user \\#\u{2060}12",
        ),
        (Markup::Markdown, "1. x\n/close\n===", "1\\. x\\\n\\/close\\\n\\==="),
        (Markup::Html, "<script>&\"'", "<p>&lt;script&gt;&amp;&quot;&#39;</p>"),
        (Markup::Textile, "h1. a\n* b #123 @user", "h1&#46; a\n&#42; b &#35;123 &#64;user"),
        (
            Markup::Textile,
            "{{toc}} [[W]] !i! r12 a_b",
            "&#123;&#123;toc&#125;&#125; &#91;&#91;W&#93;&#93; &#33;i&#33; &#114;12 a_b",
        ),
        (
            Markup::JiraWiki,
            "{code} !i! [~u] :D a: b-c -d-",
            "&#123;code&#125; &#33;i&#33; &#91;&#126;u&#93; &#58;D a: b-c &#45;d&#45;",
        ),
        (
            Markup::Tracwiki,
            "#123 [[Include(x)]] ok, WikiPage r12 a`b",
            "`#123 [[Include(x)]]` ok, `WikiPage r12 a`{{{`}}}`b`",
        ),
        (Markup::Plain, "<b>*x*", "<b>*x*"),
    ] {
        assert_eq!(render_uncut(&document_with_value(value, "A"), markup), expected, "{markup}");
    }
}

#[test]
fn code_in_the_data_stays_within_its_block() {
    let value = "a\n```\n{noformat}\n</PRE>\n}}}\n#!html";
    for (markup, expected) in [
        (Markup::Markdown, "````\na\n```\n{noformat}\n</PRE>\n}}}\n#!html\n````"),
        (
            Markup::JiraWiki,
            "{noformat}\na\n```\n{\u{2060}noformat}\n</PRE>\n}}}\n#!html\n{noformat}",
        ),
        (Markup::Textile, "<pre>\na\n```\n{noformat}\n<\u{2060}/PRE>\n}}}\n#!html\n</pre>"),
        (Markup::Tracwiki, "{{{\na\n```\n{noformat}\n</PRE>\n}\u{2060}}}\n#!html\n}}}"),
    ] {
        assert_eq!(
            render_uncut(&document_with_value(value, "```\nA\n```"), markup),
            expected,
            "{markup}"
        );
    }
    let processor =
        render_uncut(&document_with_value("#!html\n<b>", "```\nA\n```"), Markup::Tracwiki);
    assert_eq!(processor, "{{{\n\u{2060}#!html\n<b>\n}}}");
}

#[test]
fn only_a_web_address_in_the_data_becomes_a_link() {
    for (url, html) in [
        ("javascript:alert(1)", "<p>log</p>"),
        (
            "https://x.example/\"><b>",
            "<p><a href=\"https://x.example/%22%3E%3Cb%3E\" rel=\"nofollow noopener noreferrer\">log</a></p>",
        ),
    ] {
        assert_eq!(render_uncut(&document_with_value(url, "[log](A)"), Markup::Html), html);
    }
}

#[test]
fn a_cut_text_ends_with_an_ellipsis_and_its_tags_are_closed() {
    let document = document_with_value("abcdefghij", "**A**\n\n- A");
    let cut = |markup, max| render(&document, markup, max, None).expect("a text");
    assert_eq!(cut(Markup::Html, 40), "<p><strong>abcdefghi…</strong></p>");
    assert_eq!(cut(Markup::Html, 33), "<p><strong>abcdefgh…</strong></p>");
    assert_eq!(cut(Markup::Plain, 3), "ab…");
    assert_eq!(cut(Markup::Plain, 0), "");
    let error = render(&document, Markup::Plain, 10, Some("0abc9marker")).expect_err("too small");
    assert_eq!(error, TextLimitTooSmall { characters_max: 10 });
}

#[test]
fn deep_nesting_does_not_overflow_the_stack() {
    let text = "> ".repeat(20_000) + "*".repeat(9_999).as_str() + "x";
    let document = Document::parse(&ExpandedTemplate { text, values: Vec::new() });
    for markup in Markup::ALL {
        render_uncut(&document, *markup);
    }
}

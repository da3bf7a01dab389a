//! Writes text without markup: lists keep their bullets, and links show their address.

use super::document::{Block, Document, Inline};

pub(super) fn render(document: &Document) -> String {
    blocks(&document.blocks)
}

fn blocks(all: &[Block]) -> String {
    all.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

fn block(block: &Block) -> String {
    match block {
        Block::Paragraph(inlines) | Block::Heading(_, inlines) => line(inlines),
        Block::Code(text) => text.clone(),
        Block::Quote(inner) => with_prefix(&blocks(inner), "> ", "> "),
        Block::List(first, items) => list(*first, items),
        Block::Rule => "----".to_owned(),
    }
}

fn list(first: Option<u64>, items: &[Vec<Block>]) -> String {
    let item = |(index, item): (usize, &Vec<Block>)| {
        let bullet = bullet(first, index);
        let text = item.iter().map(block).collect::<Vec<_>>().join("\n");
        with_prefix(&text, &bullet, &" ".repeat(bullet.len()))
    };
    items.iter().enumerate().map(item).collect::<Vec<_>>().join("\n")
}

/// The prefix of a list item: "- " or "7. ".
pub(super) fn bullet(first: Option<u64>, index: usize) -> String {
    match first {
        Some(first) => format!("{}. ", first.saturating_add(index as u64).min(999_999_999)),
        None => "- ".to_owned(),
    }
}

/// Adds a prefix to the first line of a text, and another one to each further line.
pub(super) fn with_prefix(text: &str, first: &str, other: &str) -> String {
    let mut lines = text.split('\n');
    let begin = format!("{first}{}", lines.next().unwrap_or_default());
    let rest = lines.map(|line| match line {
        "" => format!("\n{}", other.trim_end()),
        line => format!("\n{other}{line}"),
    });
    begin + &rest.collect::<String>()
}

fn line(inlines: &[Inline]) -> String {
    inlines.iter().map(inline).collect()
}

fn inline(inline: &Inline) -> String {
    match inline {
        Inline::Text(text) | Inline::Code(text) => text.clone(),
        Inline::Strong(inner) | Inline::Emphasis(inner) => line(inner),
        Inline::Link(url, inner) => match line(inner) {
            label if label.is_empty() || label == *url => url.clone(),
            label => format!("{label} ({url})"),
        },
        Inline::Break => "\n".to_owned(),
    }
}

//! Writes text without markup: list items have bullets or numbers, and links show their address.

use super::document::{Block, Document, Inline};

pub(super) fn render(document: &Document) -> String {
    render_blocks(&document.blocks)
}

fn render_blocks(blocks: &[Block]) -> String {
    blocks.iter().map(render_block).collect::<Vec<_>>().join("\n\n")
}

fn render_block(block: &Block) -> String {
    match block {
        Block::Paragraph(inlines) | Block::Heading(_, inlines) => render_inlines(inlines),
        Block::Code(text) => text.clone(),
        Block::Quote(inner) => with_line_prefixes(&render_blocks(inner), "> ", "> "),
        Block::List(first, items) => render_list(*first, items),
        Block::Rule => "----".to_owned(),
    }
}

fn render_list(first: Option<u64>, items: &[Vec<Block>]) -> String {
    let item = |(index, item): (usize, &Vec<Block>)| {
        let prefix = list_item_prefix(first, index);
        let text = item.iter().map(render_block).collect::<Vec<_>>().join("\n");
        with_line_prefixes(&text, &prefix, &" ".repeat(prefix.len()))
    };
    items.iter().enumerate().map(item).collect::<Vec<_>>().join("\n")
}

/// Returns the prefix of a list item, such as "- " or "7. ". `first` is the number of the first
/// item; `None` for a list with bullets.
pub(super) fn list_item_prefix(first: Option<u64>, index: usize) -> String {
    match first {
        Some(first) => format!("{}. ", first.saturating_add(index as u64).min(999_999_999)),
        None => "- ".to_owned(),
    }
}

/// Adds a prefix to the first line of a text, and another prefix to each further line. On an empty
/// further line, the prefix has no space at its end.
pub(super) fn with_line_prefixes(text: &str, first_prefix: &str, other_prefix: &str) -> String {
    let mut lines = text.split('\n');
    let first_line = format!("{first_prefix}{}", lines.next().unwrap_or_default());
    let other_lines = lines.map(|line| match line {
        "" => format!("\n{}", other_prefix.trim_end()),
        line => format!("\n{other_prefix}{line}"),
    });
    first_line + &other_lines.collect::<String>()
}

fn render_inlines(inlines: &[Inline]) -> String {
    inlines.iter().map(render_inline).collect()
}

fn render_inline(inline: &Inline) -> String {
    match inline {
        Inline::Text(text) | Inline::Code(text) => text.clone(),
        Inline::Strong(inner) | Inline::Emphasis(inner) => render_inlines(inner),
        Inline::Link(url, inner) => match render_inlines(inner) {
            label if label.is_empty() || label == *url => url.clone(),
            label => format!("{label} ({url})"),
        },
        Inline::Break => "\n".to_owned(),
    }
}

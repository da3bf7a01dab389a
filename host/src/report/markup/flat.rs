//! Writes a document for wiki markups, in which a list item's prefix shows how deeply it is nested.

use super::document::{Block, Document, Inline};

#[derive(Debug)]
pub(super) enum Flat<'d> {
    Paragraph(&'d [Inline]),
    Heading(u8, &'d [Inline]),
    Code(&'d str),
    Quote(&'d [Inline]),
    /// The prefix and the text of a list item. The prefix has one character for each list around
    /// the item: `*`, or `#` for a list with numbers.
    Item(String, &'d [Inline]),
    Rule,
}

/// Writes the blocks with `write`, separated by an empty line, except between list items.
pub(super) fn render(document: &Document, write: impl Fn(&Flat<'_>) -> String) -> String {
    let mut flat = Vec::new();
    flatten(&document.blocks, "", false, &mut flat);
    let mut text = String::new();
    let mut was_item = false;
    for block in &flat {
        let is_item = matches!(block, Flat::Item(..));
        if !text.is_empty() {
            text.push_str(if is_item && was_item { "\n" } else { "\n\n" });
        }
        text.push_str(&write(block));
        was_item = is_item;
    }
    text
}

fn flatten<'d>(blocks: &'d [Block], lists: &str, in_quote: bool, flat: &mut Vec<Flat<'d>>) {
    for block in blocks {
        match block {
            Block::Paragraph(inlines) if in_quote => flat.push(Flat::Quote(inlines)),
            Block::Paragraph(inlines) => flat.push(Flat::Paragraph(inlines)),
            Block::Heading(level, inlines) => flat.push(Flat::Heading(*level, inlines)),
            Block::Code(text) => flat.push(Flat::Code(text)),
            Block::Quote(inner) => flatten(inner, lists, true, flat),
            Block::List(first, items) => {
                let lists = format!("{lists}{}", if first.is_some() { '#' } else { '*' });
                for item in items {
                    let (line, rest) = match item.as_slice() {
                        [Block::Paragraph(inlines), rest @ ..] => (inlines.as_slice(), rest),
                        all => (&[][..], all),
                    };
                    flat.push(Flat::Item(lists.clone(), line));
                    flatten(rest, &lists, in_quote, flat);
                }
            }
            Block::Rule => flat.push(Flat::Rule),
        }
    }
}

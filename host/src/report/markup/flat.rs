//! Writes a document for wiki markups, in which blocks cannot contain blocks.

use super::document::{Block, Document, Inline};

/// A block that contains no other block.
#[derive(Debug)]
pub(super) enum FlatBlock<'d> {
    Paragraph(&'d [Inline]),
    Heading(u8, &'d [Inline]),
    Code(&'d str),
    Quote(&'d [Inline]),
    /// The prefix and the text of a list item. The prefix has one character for each list around
    /// the item: `*`, or `#` for a list with numbers.
    Item(String, &'d [Inline]),
    Rule,
}

/// Calls `write_block` for each block and joins the results: with an empty line between blocks, and
/// with a line break between list items.
pub(super) fn render(
    document: &Document,
    write_block: impl Fn(&FlatBlock<'_>) -> String,
) -> String {
    let mut flat_blocks = Vec::new();
    flatten(&document.blocks, "", false, &mut flat_blocks);
    let mut text = String::new();
    let mut is_after_item = false;
    for block in &flat_blocks {
        let is_item = matches!(block, FlatBlock::Item(..));
        if !text.is_empty() {
            text.push_str(if is_item && is_after_item { "\n" } else { "\n\n" });
        }
        text.push_str(&write_block(block));
        is_after_item = is_item;
    }
    text
}

/// Adds the blocks to `flat_blocks` in their order. A paragraph in a quote becomes a quote, except
/// that the first paragraph of a list item becomes the item.
fn flatten<'d>(
    blocks: &'d [Block],
    list_prefix: &str,
    in_quote: bool,
    flat_blocks: &mut Vec<FlatBlock<'d>>,
) {
    for block in blocks {
        match block {
            Block::Paragraph(inlines) if in_quote => flat_blocks.push(FlatBlock::Quote(inlines)),
            Block::Paragraph(inlines) => flat_blocks.push(FlatBlock::Paragraph(inlines)),
            Block::Heading(level, inlines) => flat_blocks.push(FlatBlock::Heading(*level, inlines)),
            Block::Code(text) => flat_blocks.push(FlatBlock::Code(text)),
            Block::Quote(inner) => flatten(inner, list_prefix, true, flat_blocks),
            Block::List(first, items) => {
                let list_prefix =
                    format!("{list_prefix}{}", if first.is_some() { '#' } else { '*' });
                for item in items {
                    let (line, rest) = match item.as_slice() {
                        [Block::Paragraph(inlines), rest @ ..] => (inlines.as_slice(), rest),
                        all => (&[][..], all),
                    };
                    flat_blocks.push(FlatBlock::Item(list_prefix.clone(), line));
                    flatten(rest, &list_prefix, in_quote, flat_blocks);
                }
            }
            Block::Rule => flat_blocks.push(FlatBlock::Rule),
        }
    }
}

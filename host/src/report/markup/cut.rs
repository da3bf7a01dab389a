//! Cuts a document so that its rendered text has at most a given number of characters.
//!
//! This module cuts the parsed document and never the rendered text, so the result is valid in each
//! markup. The notes at the end of the document are kept whole, if the text with only the marker,
//! an ellipsis and the notes is short enough. If not, the notes are cut like the blocks.

use super::document::{Block, Document, Inline};

const ELLIPSIS: &str = "…";

/// Renders the longest beginning of the document for which `render` returns a text. Returns `None`
/// if `render` returns no text even for an empty document.
pub(super) fn longest_accepted(
    document: &Document,
    render: impl Fn(Document) -> Option<String>,
) -> Option<String> {
    if let Some(whole) = render(document.clone()) {
        return Some(whole);
    }
    let notes_fit = render(cut_document(document, 0)).is_some();
    let document = if notes_fit { document } else { &Document::join(None, document.clone()) };
    let (mut fitting_size, mut too_long_size) = (0, blocks_size(&document.blocks) + 1);
    let mut longest = render(cut_document(document, 0)).or_else(|| render(Document::default()))?;
    while too_long_size - fitting_size > 1 {
        let middle = fitting_size + (too_long_size - fitting_size) / 2;
        match render(cut_document(document, middle)) {
            Some(text) => (fitting_size, longest) = (middle, text),
            None => too_long_size = middle,
        }
    }
    Some(longest)
}

/// Returns a document with the first `characters` characters of the blocks, then an ellipsis, then
/// all notes. Characters are counted as in [`blocks_size`].
fn cut_document(document: &Document, characters: usize) -> Document {
    let mut remaining = RemainingSpace { characters, is_cut: false };
    let mut blocks = remaining.cut_blocks(&document.blocks);
    if !remaining.is_cut {
        blocks.push(Block::Paragraph(vec![Inline::Text(ELLIPSIS.to_owned())]));
    }
    Document { blocks, notes: document.notes.clone() }
}

/// Returns the number of characters in the blocks. Each block and each line break counts as one
/// more character.
fn blocks_size(blocks: &[Block]) -> usize {
    blocks.iter().map(|block| 1 + block_size(block)).sum()
}

fn block_size(block: &Block) -> usize {
    match block {
        Block::Paragraph(inlines) | Block::Heading(_, inlines) => inline_size(inlines),
        Block::Code(text) => text.chars().count(),
        Block::Quote(blocks) => blocks_size(blocks),
        Block::List(_, items) => items.iter().map(|item| blocks_size(item)).sum(),
        Block::Rule => 0,
    }
}

fn inline_size(inlines: &[Inline]) -> usize {
    let size_of = |inline: &Inline| match inline {
        Inline::Text(text) | Inline::Code(text) => text.chars().count(),
        Inline::Strong(inner) | Inline::Emphasis(inner) | Inline::Link(_, inner) => {
            inline_size(inner)
        }
        Inline::Break => 1,
    };
    inlines.iter().map(size_of).sum()
}

/// Counts the characters that may still be copied from a document.
struct RemainingSpace {
    characters: usize,
    /// Whether the ellipsis was added. Nothing may be added after it.
    is_cut: bool,
}

impl RemainingSpace {
    fn cut_blocks(&mut self, blocks: &[Block]) -> Vec<Block> {
        let mut copied = Vec::new();
        for block in blocks {
            if self.is_cut {
                break;
            }
            if !self.count_one_character() {
                copied.push(Block::Paragraph(vec![Inline::Text(ELLIPSIS.to_owned())]));
                break;
            }
            copied.push(match block {
                Block::Paragraph(inlines) => Block::Paragraph(self.cut_inlines(inlines)),
                Block::Heading(level, inlines) => Block::Heading(*level, self.cut_inlines(inlines)),
                Block::Code(text) => Block::Code(self.cut_text(text)),
                Block::Quote(blocks) => Block::Quote(self.cut_blocks(blocks)),
                Block::List(first, items) => Block::List(*first, self.cut_items(items)),
                Block::Rule => Block::Rule,
            });
        }
        copied
    }

    fn cut_items(&mut self, items: &[Vec<Block>]) -> Vec<Vec<Block>> {
        let mut copied = Vec::new();
        for item in items {
            if self.is_cut {
                break;
            }
            copied.push(self.cut_blocks(item));
        }
        copied
    }

    fn cut_inlines(&mut self, inlines: &[Inline]) -> Vec<Inline> {
        let mut copied = Vec::new();
        for inline in inlines {
            if self.is_cut {
                break;
            }
            copied.push(match inline {
                Inline::Text(text) => Inline::Text(self.cut_text(text)),
                Inline::Code(text) => Inline::Code(self.cut_text(text)),
                Inline::Strong(inner) => Inline::Strong(self.cut_inlines(inner)),
                Inline::Emphasis(inner) => Inline::Emphasis(self.cut_inlines(inner)),
                Inline::Link(url, inner) => Inline::Link(url.clone(), self.cut_inlines(inner)),
                Inline::Break if self.count_one_character() => Inline::Break,
                Inline::Break => Inline::Text(ELLIPSIS.to_owned()),
            });
        }
        copied
    }

    fn cut_text(&mut self, text: &str) -> String {
        let length = text.chars().count();
        if length <= self.characters {
            self.characters -= length;
            return text.to_owned();
        }
        let kept: String = text.chars().take(self.characters).collect();
        (self.characters, self.is_cut) = (0, true);
        kept + ELLIPSIS
    }

    /// Counts a block or a line break as one character. Returns false if there is no space for it.
    fn count_one_character(&mut self) -> bool {
        self.is_cut |= self.characters == 0;
        self.characters = self.characters.saturating_sub(1);
        !self.is_cut
    }
}

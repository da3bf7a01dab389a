//! Generates the screenshots of assertions, which are small PNG images.

use std::io::Write;

use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};

/// Pixels.
const WIDTH: u32 = 320;
/// Pixels.
const HEIGHT: u32 = 200;
/// The last bytes of the chunk IHDR: eight bits for each sample, RGB, the only compression method
/// and the only filter method of PNG, no interlacing.
const IHDR_FORMAT: [u8; 5] = [8, 2, 0, 0, 0];
/// The bytes with which each PNG file begins.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Generates the image of a window that contains a red frame. `number` determines the colour of the
/// title bar and the position of the frame.
pub(super) fn screenshot(number: u128) -> Vec<u8> {
    let mut png = SIGNATURE.to_vec();
    let size = [WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].concat();
    add_chunk(&mut png, *b"IHDR", &[size.as_slice(), &IHDR_FORMAT].concat());
    add_chunk(&mut png, *b"IDAT", &compress(&pixel_rows(number)));
    add_chunk(&mut png, *b"IEND", &[]);
    png
}

/// A filter byte precedes each row.
fn pixel_rows(number: u128) -> Vec<u8> {
    let [red, green, blue, left, top, ..] = number.to_le_bytes();
    let (left, top) = (u32::from(left) / 2 + 20, u32::from(top) / 4 + 50);
    let mut pixels = Vec::new();
    for y in 0..HEIGHT {
        pixels.push(0);
        for x in 0..WIDTH {
            let is_in_frame = (left..left + 120).contains(&x) && (top..top + 40).contains(&y);
            let is_inside_frame =
                (left + 3..left + 117).contains(&x) && (top + 3..top + 37).contains(&y);
            pixels.extend(match (y, is_in_frame, is_inside_frame) {
                (0..24, ..) => [red / 2, green / 2, blue / 2],
                (_, true, false) => [220, 20, 30],
                _ => [235, 240, 245],
            });
        }
    }
    pixels
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    // Writing to a vector cannot fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// A chunk is the length of the data, the name, the data, and the CRC of name and data.
fn add_chunk(png: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    let mut crc = Crc::new();
    crc.update(&name);
    crc.update(data);
    png.extend(u32::try_from(data.len()).unwrap_or_default().to_be_bytes());
    png.extend(name);
    png.extend(data);
    png.extend(crc.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::ZlibDecoder;

    use super::*;

    #[test]
    fn a_screenshot_is_a_complete_png() {
        let png = screenshot(7);
        assert!(png.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\x40\0\0\0\xc8\x08\x02"));
        // The CRC of an empty IEND is a constant of the format.
        assert!(png.ends_with(b"\0\0\0\0IEND\xae\x42\x60\x82"));
        let start = png.windows(4).position(|bytes| bytes == b"IDAT").expect("pixels") + 4;
        let mut pixels = Vec::new();
        ZlibDecoder::new(&png[start..]).read_to_end(&mut pixels).expect("zlib");
        assert_eq!(pixels.len(), 200 * (1 + 320 * 3));
    }

    #[test]
    fn screenshots_of_different_numbers_differ() {
        assert_ne!(screenshot(1), screenshot(2));
    }
}

//! Gzip bodies written bit by bit, unlike any compressor's output.

use std::io::Write as _;

use flate2::{Compression, Crc, write::GzEncoder};

/// Writes the bits of a deflate stream.
#[derive(Default)]
pub struct Bits {
    bytes: Vec<u8>,
    /// Bits of the incomplete last byte, and their number.
    rest: (u64, u32),
}

impl Bits {
    pub fn put(&mut self, value: u64, count: u32) {
        self.rest.0 |= value << self.rest.1;
        self.rest.1 += count;
        while self.rest.1 >= 8 {
            self.bytes.push(self.rest.0 as u8);
            self.rest = (self.rest.0 >> 8, self.rest.1 - 8);
        }
    }

    /// A Huffman code: its most significant bit comes first.
    pub fn code(&mut self, code: u64, length: u32) {
        self.put(code.reverse_bits() >> (64 - length), length);
    }

    pub fn align(&mut self) {
        self.put(0, (8 - self.rest.1) % 8);
    }

    fn finish(mut self) -> Vec<u8> {
        self.align();
        self.bytes
    }
}

/// The header of every gzip member.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// A gzip member of these blocks and an empty final one, with the checksum and length of `output`.
pub fn member(mut blocks: Bits, output: &[u8]) -> Vec<u8> {
    // the last block: fixed codes, empty
    blocks.put(0b011, 3);
    blocks.put(0, 7);
    let mut crc = Crc::new();
    crc.update(output);
    [&HEADER[..], &blocks.finish(), &crc.sum().to_le_bytes(), &crc.amount().to_le_bytes()].concat()
}

/// Empty blocks with fixed Huffman codes.
pub fn empty_fixed(blocks: usize) -> Bits {
    let mut bits = Bits::default();
    for _ in 0..blocks {
        bits.put(0b010, 3);
        bits.put(0, 7);
    }
    bits
}

/// Stored blocks of `each` bytes.
pub fn stored(blocks: usize, each: usize) -> Bits {
    let mut bits = Bits::default();
    for _ in 0..blocks {
        bits.put(0, 3);
        bits.align();
        bits.put(each as u64, 16);
        bits.put(!(each as u64) & 0xffff, 16);
        for _ in 0..each {
            bits.put(u64::from(b' '), 8);
        }
    }
    bits
}

/// Blocks with codes of their own: of lengths 1, 2, … `longest`, `longest` for literals and lengths, and of `distances`
/// for distances, each followed by `literals` blanks.
pub fn dynamic(blocks: usize, longest: u32, distances: u32, literals: usize) -> Bits {
    let mut bits = Bits::default();
    for _ in 0..blocks {
        block_of_its_own(&mut bits, longest, distances, literals);
    }
    bits
}

fn block_of_its_own(bits: &mut Bits, longest: u32, distances: u32, literals: usize) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    // blank has the shortest code, the end of the block the next, some other literals the rest
    let mut lengths = vec![0_u32; 257];
    lengths[32] = 1;
    lengths[256] = if longest == 1 { 1 } else { 2 };
    for n in 3..=longest {
        lengths[n as usize + 31] = n;
    }
    if longest > 2 {
        lengths[longest as usize + 32] = longest;
    } else if longest == 2 {
        lengths[33] = 2;
    }
    lengths.extend(1..=distances.max(1));
    if distances > 1 {
        lengths.push(distances);
    } else if distances == 0 {
        *lengths.last_mut().unwrap() = 0;
    }
    let hdist = lengths.len() - 257;
    // run lengths
    let mut symbols: Vec<(usize, u64, u32)> = Vec::new();
    let mut at = 0;
    while at < lengths.len() {
        let run = lengths[at..].iter().take_while(|length| **length == 0).count();
        if run >= 11 {
            let run = run.min(138);
            symbols.push((18, run as u64 - 11, 7));
            at += run;
        } else {
            symbols.push((lengths[at] as usize, 0, 0));
            at += 1;
        }
    }
    // the code of the code lengths: as short as the number of symbols lets it be, all of one length or one shorter
    let mut used: Vec<usize> = symbols.iter().map(|(symbol, ..)| *symbol).collect();
    used.sort_unstable();
    used.dedup();
    let long = usize::BITS - (used.len() - 1).leading_zeros();
    let short = (1 << long) - used.len();
    let mut code_lengths = [0_u32; 19];
    for (n, symbol) in used.iter().enumerate() {
        code_lengths[*symbol] = if n < short { long - 1 } else { long };
    }
    let hclen = ORDER.iter().rposition(|symbol| code_lengths[*symbol] > 0).unwrap().max(3) + 1;
    bits.put(0b100, 3);
    bits.put(0, 5);
    bits.put(hdist as u64 - 1, 5);
    bits.put(hclen as u64 - 4, 4);
    for symbol in &ORDER[..hclen] {
        bits.put(u64::from(code_lengths[*symbol]), 3);
    }
    let codes = canonical(&code_lengths);
    for (symbol, extra, count) in symbols {
        bits.code(codes[symbol], code_lengths[symbol]);
        bits.put(extra, count);
    }
    let codes = canonical(&lengths[..257]);
    for _ in 0..literals {
        bits.code(codes[32], lengths[32]);
    }
    bits.code(codes[256], lengths[256]);
}

fn canonical(lengths: &[u32]) -> Vec<u64> {
    let (mut code, mut codes) = (0, vec![0; lengths.len()]);
    for length in 1..=15 {
        for (symbol, _) in lengths.iter().enumerate().filter(|(_, of)| **of == length) {
            codes[symbol] = code;
            code += 1;
        }
        code <<= 1;
    }
    codes
}

/// Ordinary gzip at the best level.
pub fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

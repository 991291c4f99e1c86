//! A small assembler for BPF: instructions with labels, to the words `bpf(2)` loads.
//!
//! Jumps are relative to the instruction after them and must lie within 32 767 of it. A program
//! is built in the order in which it runs; whether it is safe is the kernel's to say.
//!
//! Source: `Documentation/bpf/standardization/instruction-set.rst`.

use std::os::fd::{AsRawFd, BorrowedFd};

/// A register. R1 to R5 are arguments of a call and lost by it; R6 to R9 are kept; R10 is the
/// frame's end and cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they have no other names")]
pub enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The second operand of most instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operand {
    /// A register.
    Reg(Reg),
    /// A constant, extended by its sign.
    Constant(i32),
}

impl From<Reg> for Operand {
    fn from(reg: Reg) -> Self {
        Self::Reg(reg)
    }
}

impl From<i32> for Operand {
    fn from(constant: i32) -> Self {
        Self::Constant(constant)
    }
}

/// Arithmetic on 64 bits, by opcode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Op {
    Add = 0x00,
    Sub = 0x10,
    Or = 0x40,
    And = 0x50,
    ShiftLeft = 0x60,
    ShiftRight = 0x70,
    Move = 0xb0,
}

/// When to jump; comparisons are of unsigned 64-bit numbers unless they say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum If {
    Equal = 0x10,
    Greater = 0x20,
    AtLeast = 0x30,
    AnyBit = 0x40,
    NotEqual = 0x50,
    SignedLess = 0xc0,
    Less = 0xa0,
}

/// How many bytes a load or a store moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are what they are called")]
pub enum Width {
    Four = 0x00,
    Two = 0x08,
    One = 0x10,
    Eight = 0x18,
}

/// A place in the program, defined once, before or after the jumps to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label(usize);

/// Why a program is not one. Both are mistakes of its author.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AssemblyError {
    /// A jump leads to a label that is nowhere.
    #[error("instruction {at} jumps to a label that is nowhere")]
    Nowhere {
        /// The jump.
        at: usize,
    },
    /// A jump leads too far.
    #[error("instruction {at} jumps over {distance} instructions; 32767 is the most")]
    Far {
        /// The jump.
        at: usize,
        /// How far.
        distance: usize,
    },
}

/// A program being written.
#[derive(Debug, Default)]
pub struct Assembler {
    code: Vec<u64>,
    labels: Vec<Option<usize>>,
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    fn push(&mut self, opcode: u8, dst: Reg, src: Reg, offset: i16, immediate: i32) {
        let registers = dst as u8 | (src as u8) << 4;
        self.code.push(
            u64::from(opcode)
                | u64::from(registers) << 8
                | u64::from(offset.cast_unsigned()) << 16
                | u64::from(immediate.cast_unsigned()) << 32,
        );
    }

    /// `dst = dst op operand`; for [`Op::Move`], `dst = operand`.
    pub fn alu(&mut self, op: Op, dst: Reg, operand: impl Into<Operand>) {
        match operand.into() {
            Operand::Reg(src) => self.push(0x0f | op as u8, dst, src, 0, 0),
            Operand::Constant(constant) => self.push(0x07 | op as u8, dst, Reg::R0, 0, constant),
        }
    }

    /// `dst = operand`.
    pub fn mov(&mut self, dst: Reg, operand: impl Into<Operand>) {
        self.alu(Op::Move, dst, operand);
    }

    /// `dst = operand`, of which the lower 32 bits are kept and the others are zero.
    pub fn mov32(&mut self, dst: Reg, src: Reg) {
        self.push(0xbc, dst, src, 0, 0);
    }

    /// `dst = dst - src` on the lower 32 bits; the others become zero.
    pub fn sub32(&mut self, dst: Reg, src: Reg) {
        self.push(0x1c, dst, src, 0, 0);
    }

    /// Turns the lower 32 bits from network order to the machine's, or back.
    pub fn swap_network32(&mut self, dst: Reg) {
        self.push(0xdc, dst, Reg::R0, 0, 32);
    }

    /// `dst = *(base + offset)`, extended by zeros.
    pub fn load(&mut self, width: Width, dst: Reg, base: Reg, offset: i16) {
        self.push(0x61 | width as u8, dst, base, offset, 0);
    }

    /// `*(base + offset) = operand`.
    pub fn store(&mut self, width: Width, base: Reg, offset: i16, operand: impl Into<Operand>) {
        match operand.into() {
            Operand::Reg(src) => self.push(0x63 | width as u8, base, src, offset, 0),
            Operand::Constant(constant) => {
                self.push(0x62 | width as u8, base, Reg::R0, offset, constant);
            }
        }
    }

    /// `*(base + offset) += src`, eight bytes, atomically.
    pub fn atomic_add(&mut self, base: Reg, offset: i16, src: Reg) {
        self.push(0xdb, base, src, offset, 0);
    }

    /// A new label, which [`Assembler::here`] puts somewhere.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Puts a label before the next instruction.
    pub fn here(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }

    /// Jumps.
    pub fn jump(&mut self, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.push(0x05, Reg::R0, Reg::R0, 0, 0);
    }

    /// Jumps if the comparison holds.
    pub fn jump_if(&mut self, when: If, left: Reg, right: impl Into<Operand>, to: Label) {
        self.jumps.push((self.code.len(), to));
        match right.into() {
            Operand::Reg(right) => self.push(0x0d | when as u8, left, right, 0, 0),
            Operand::Constant(right) => self.push(0x05 | when as u8, left, Reg::R0, 0, right),
        }
    }

    /// Calls a helper by its number in linux/bpf.h; the answer is in R0.
    pub fn call(&mut self, helper: i32) {
        self.push(0x85, Reg::R0, Reg::R0, 0, helper);
    }

    /// Calls a function of the kernel by its number in the kernel's type information (`kfunc`); the
    /// answer is in R0.
    pub fn call_kernel(&mut self, function: i32) {
        // src 2 is BPF_PSEUDO_KFUNC_CALL.
        self.push(0x85, Reg::R0, Reg::R2, 0, function);
    }

    /// Makes `dst` a pointer to a map.
    pub fn load_map(&mut self, dst: Reg, map: BorrowedFd<'_>) {
        // src 1 is BPF_PSEUDO_MAP_FD; the constant takes two words.
        self.push(0x18, dst, Reg::R1, 0, map.as_raw_fd());
        self.push(0, Reg::R0, Reg::R0, 0, 0);
    }

    /// Ends the program with 0.
    pub fn exit(&mut self) {
        self.mov(Reg::R0, 0);
        self.push(0x95, Reg::R0, Reg::R0, 0, 0);
    }

    /// The program's words.
    ///
    /// # Errors
    ///
    /// [`AssemblyError`] for a jump to nowhere, or too far.
    pub fn finish(mut self) -> Result<Vec<u64>, AssemblyError> {
        for (at, label) in self.jumps {
            let to = self.labels[label.0].ok_or(AssemblyError::Nowhere { at })?;
            let far = || AssemblyError::Far { at, distance: to.abs_diff(at) };
            let distance = isize::try_from(to).ok().zip(isize::try_from(at).ok());
            let distance = distance.map(|(to, at)| to - at - 1).ok_or_else(far)?;
            let distance = i16::try_from(distance).map_err(|_| far())?;
            self.code[at] |= u64::from(distance.cast_unsigned()) << 16;
        }
        Ok(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as `llvm-mc -triple bpfel` gives them.
    #[test]
    fn instructions_are_encoded_as_others_encode_them() {
        let mut asm = Assembler::default();
        let end = asm.label();
        asm.mov(Reg::R6, Reg::R1);
        asm.alu(Op::Add, Reg::R2, -8);
        asm.load(Width::Eight, Reg::R1, Reg::R6, 16);
        asm.store(Width::Four, Reg::R10, -4, 7);
        asm.store(Width::Eight, Reg::R10, -16, Reg::R1);
        asm.jump_if(If::Equal, Reg::R0, 0, end);
        asm.atomic_add(Reg::R0, 8, Reg::R1);
        asm.swap_network32(Reg::R3);
        asm.call(14);
        asm.here(end);
        asm.exit();
        assert_eq!(
            asm.finish().unwrap(),
            [
                0x0000_0000_0000_16bf,
                0xffff_fff8_0000_0207,
                0x0000_0000_0010_6179,
                0x0000_0007_fffc_0a62,
                0x0000_0000_fff0_1a7b,
                0x0000_0000_0003_0015,
                0x0000_0000_0008_10db,
                0x0000_0020_0000_03dc,
                0x0000_000e_0000_0085,
                0x0000_0000_0000_00b7,
                0x0000_0000_0000_0095,
            ]
        );
    }

    #[test]
    fn a_jump_goes_back_as_well_and_never_nowhere() {
        let mut asm = Assembler::default();
        let start = asm.label();
        asm.here(start);
        asm.mov(Reg::R0, 1);
        asm.jump(start);
        assert_eq!(asm.finish().unwrap()[1], 0x0000_0000_fffe_0005);
        let mut asm = Assembler::default();
        let nowhere = asm.label();
        asm.jump(nowhere);
        assert_eq!(asm.finish().unwrap_err(), AssemblyError::Nowhere { at: 0 });
    }
}

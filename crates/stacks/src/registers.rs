//! What unwinding needs of a processor's registers.

use std::sync::atomic::{AtomicU64, Ordering};

use framehop::UnwindRegsNative;

#[cfg(target_arch = "aarch64")]
use self::aarch64 as processor;
#[cfg(target_arch = "x86_64")]
use self::x86_64 as processor;

/// The registers of a thread as they were when it was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers([u64; processor::COUNT]);

impl Registers {
    pub fn of(machine: &libc::mcontext_t) -> Self {
        Self(processor::registers(machine))
    }

    pub fn instruction(&self) -> u64 {
        processor::instruction(&self.0)
    }

    pub fn stack(&self) -> u64 {
        processor::stack(&self.0)
    }

    pub fn for_unwinding(&self) -> UnwindRegsNative {
        processor::for_unwinding(&self.0)
    }
}

/// Where a signal's handler leaves them.
pub struct Left([AtomicU64; processor::COUNT]);

impl Left {
    pub const fn new() -> Self {
        Self([const { AtomicU64::new(0) }; processor::COUNT])
    }

    pub fn store(&self, registers: Registers) {
        for (place, value) in self.0.iter().zip(registers.0) {
            place.store(value, Ordering::Relaxed);
        }
    }

    pub fn load(&self) -> Registers {
        let mut registers = [0; processor::COUNT];
        for (register, place) in registers.iter_mut().zip(&self.0) {
            *register = place.load(Ordering::Relaxed);
        }
        Registers(registers)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use framehop::x86_64::{Reg, UnwindRegsX86_64};

    /// In the kernel's order: all of the general ones, then that of the instruction. Some code finds its frame by others than
    /// the frame pointer, as the loader's.
    pub const COUNT: usize = 17;

    const GENERAL: [Reg; 16] = [
        Reg::R8,
        Reg::R9,
        Reg::R10,
        Reg::R11,
        Reg::R12,
        Reg::R13,
        Reg::R14,
        Reg::R15,
        Reg::RDI,
        Reg::RSI,
        Reg::RBP,
        Reg::RBX,
        Reg::RDX,
        Reg::RAX,
        Reg::RCX,
        Reg::RSP,
    ];
    const STACK: usize = 15;
    const INSTRUCTION: usize = 16;

    pub fn registers(machine: &libc::mcontext_t) -> [u64; COUNT] {
        let mut registers = [0; COUNT];
        for (register, value) in registers.iter_mut().zip(machine.gregs) {
            *register = value.cast_unsigned();
        }
        registers
    }

    pub fn instruction(registers: &[u64; COUNT]) -> u64 {
        registers[INSTRUCTION]
    }

    pub fn stack(registers: &[u64; COUNT]) -> u64 {
        registers[STACK]
    }

    pub fn for_unwinding(registers: &[u64; COUNT]) -> UnwindRegsX86_64 {
        let mut unwinding = UnwindRegsX86_64::new(instruction(registers), 0, 0);
        for (register, value) in GENERAL.into_iter().zip(registers) {
            unwinding.set(register, *value);
        }
        unwinding
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn they_are_in_the_order_of_the_kernel() {
            // as long as the registers are not more, which the compiler knows
            let places = [
                (libc::REG_R8, Reg::R8),
                (libc::REG_R15, Reg::R15),
                (libc::REG_RDI, Reg::RDI),
                (libc::REG_RSI, Reg::RSI),
                (libc::REG_RBP, Reg::RBP),
                (libc::REG_RBX, Reg::RBX),
                (libc::REG_RDX, Reg::RDX),
                (libc::REG_RAX, Reg::RAX),
                (libc::REG_RCX, Reg::RCX),
                (libc::REG_RSP, Reg::RSP),
            ];
            for (place, register) in places {
                assert_eq!(GENERAL[usize::try_from(place).unwrap()], register);
            }
            assert_eq!(usize::try_from(libc::REG_RSP).unwrap(), STACK);
            assert_eq!(usize::try_from(libc::REG_RIP).unwrap(), INSTRUCTION);
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod aarch64 {
    use framehop::aarch64::UnwindRegsAarch64;

    /// Instruction, stack pointer, frame pointer (`x29`), link register (`x30`).
    pub const COUNT: usize = 4;

    pub fn registers(machine: &libc::mcontext_t) -> [u64; COUNT] {
        [machine.pc, machine.sp, machine.regs[29], machine.regs[30]]
    }

    pub fn instruction([instruction, ..]: &[u64; COUNT]) -> u64 {
        *instruction
    }

    pub fn stack([_, stack, ..]: &[u64; COUNT]) -> u64 {
        *stack
    }

    pub fn for_unwinding([_, stack, frame, link]: &[u64; COUNT]) -> UnwindRegsAarch64 {
        UnwindRegsAarch64::new(*link, *stack, *frame)
    }
}

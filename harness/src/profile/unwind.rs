//! From a sample's registers and stack to the addresses of its calls.

use framehop::{
    CacheNative, ExplicitModuleSectionInfo, FrameAddress, MayAllocateDuringUnwind, Module, UnwindRegsNative,
    Unwinder as _, UnwinderNative,
};

use super::objects::CodeObject;
use super::sampler::{Registers, Sample};

/// Calls kept of one sample: deeper ones are those of the runtime.
const DEPTH_MAX: usize = 96;

/// Walks stacks by the tables that compilers leave for exceptions (`.eh_frame`), so that neither
/// frame pointers nor a special build are needed.
pub struct Unwinder {
    inner: UnwinderNative<Vec<u8>, MayAllocateDuringUnwind>,
    cache: CacheNative<MayAllocateDuringUnwind>,
}

impl Unwinder {
    /// An unwinder over this process's code.
    #[must_use]
    pub fn new(objects: &[CodeObject]) -> Self {
        let mut inner = UnwinderNative::new();
        for object in objects {
            inner.add_module(module(object));
        }
        Self { inner, cache: CacheNative::new() }
    }

    /// The addresses of `sample`'s calls, innermost first, each within its instruction (so that
    /// none lies behind the call that it stands for). At least the first is known.
    pub fn walk(&mut self, sample: &Sample<'_>) -> Vec<u64> {
        let (sp, stack) = (sample.registers.sp, sample.stack);
        let mut read_stack = |address: u64| {
            let at = usize::try_from(address.checked_sub(sp).ok_or(())?).map_err(|_| ())?;
            let word = stack.get(at..at.checked_add(8).ok_or(())?).ok_or(())?;
            word.try_into().map(u64::from_ne_bytes).map_err(|_| ())
        };
        let registers = native(&sample.registers);
        let mut calls =
            self.inner.iter_frames(sample.registers.ip, registers, &mut self.cache, &mut read_stack);
        let mut addresses = Vec::with_capacity(32);
        while let Ok(Some(call)) = calls.next() {
            addresses.push(match call {
                FrameAddress::InstructionPointer(address) => address,
                FrameAddress::ReturnAddress(_) => call.address_for_lookup(),
            });
            if addresses.len() == DEPTH_MAX {
                break;
            }
        }
        addresses
    }
}

#[cfg(target_arch = "x86_64")]
fn native(registers: &Registers) -> UnwindRegsNative {
    UnwindRegsNative::new(registers.ip, registers.sp, registers.fp)
}

#[cfg(target_arch = "aarch64")]
fn native(registers: &Registers) -> UnwindRegsNative {
    UnwindRegsNative::new(registers.lr, registers.sp, registers.fp)
}

fn module(object: &CodeObject) -> Module<Vec<u8>> {
    let sections = &object.sections;
    let of = |section: &Option<(std::ops::Range<u64>, Vec<u8>)>| match section {
        Some((range, data)) => (Some(range.clone()), Some(data.clone())),
        None => (None, None),
    };
    let (text_svma, text) = of(&sections.text);
    let (eh_frame_svma, eh_frame) = of(&sections.eh_frame);
    let (eh_frame_hdr_svma, eh_frame_hdr) = of(&sections.eh_frame_hdr);
    let info = ExplicitModuleSectionInfo {
        base_svma: 0,
        text_svma,
        text,
        eh_frame_svma,
        eh_frame,
        eh_frame_hdr_svma,
        eh_frame_hdr,
        got_svma: sections.got.clone(),
        ..ExplicitModuleSectionInfo::default()
    };
    Module::new(object.name.clone(), object.range.clone(), object.bias, info)
}

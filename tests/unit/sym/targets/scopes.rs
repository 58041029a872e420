// SPDX-License-Identifier: Apache-2.0
// A generic Rust function with a mark inside; no std, so that it builds in a moment.
#![no_std]
#![allow(named_asm_labels)]

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

mod garden {
    #[inline(never)]
    pub fn grow<T: Copy>(rows: T) -> T {
        unsafe { core::arch::asm!(".globl seep_mark_rust", "seep_mark_rust:", "nop") }; // line of rust
        rows
    }
}

#[no_mangle]
pub extern "C" fn water(x: u32) -> u32 {
    garden::grow(x)
}

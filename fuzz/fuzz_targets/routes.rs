//! Any requests of anybody: never a 5xx, and what is stored is valid.

#![no_main]

use libfuzzer_sys::arbitrary::Unstructured;
use libfuzzer_sys::fuzz_target;
use slipstream_fuzz::requests::take;

fuzz_target!(|input: &[u8]| {
    // Input that ends in the middle of a step is not worth anything.
    if let Ok(steps) = slipstream_fuzz::any_steps(&mut Unstructured::new(input)) {
        take(&steps);
    }
});

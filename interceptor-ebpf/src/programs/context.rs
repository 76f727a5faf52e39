//! Reading and writing fields of a program's context.
//!
//! The verifier turns each access into one of the kernel's own fields and accepts only the widths that it knows. A
//! volatile access keeps the compiler from narrowing, widening or merging them.

/// Reads one field of a context.
macro_rules! read {
    ($context:expr, $($field:tt)+) => {
        // SAFETY: the kernel hands the context to the program, and the verifier checks the access.
        unsafe { (&raw const (*$context).$($field)+).read_volatile() }
    };
}

/// Writes one field of a context.
macro_rules! write {
    ($context:expr, $value:expr, $($field:tt)+) => {
        // SAFETY: the kernel hands the context to the program, and the verifier checks the access.
        unsafe { (&raw mut (*$context).$($field)+).write_volatile($value) }
    };
}

pub(super) use {read, write};

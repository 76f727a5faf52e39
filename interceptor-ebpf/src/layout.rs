//! Compile-time checks of size and offsets.

/// Asserts a struct's size and each field's offset, and marks it [`Plain`](crate::Plain).
///
/// Sizes add up to the struct's size when no field is followed by implicit padding, which is what makes the type plain.
#[macro_export]
macro_rules! plain {
    ($type:ty, size $size:literal, { $($field:ident @ $offset:literal),+ $(,)? }) => {
        const _: () = {
            assert!(core::mem::size_of::<$type>() == $size, "ABI size changed");
            $(assert!(core::mem::offset_of!($type, $field) == $offset, "ABI offset changed");)+
        };
        // SAFETY: the type is `repr(C)`, its layout is asserted above, and its fields are integers and byte arrays.
        unsafe impl $crate::Plain for $type {}
    };
}

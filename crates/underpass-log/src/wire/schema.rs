//! The macro that turns the definition of a message into its type and both directions of its code.
//!
//! A line is one of Kafka's definition: `name: type [versions] = default`. A field that a version
//! does not have is not said, and has its default when read. `null` says from which version on an
//! `Option` may be null, if not in all; `tagged` fields are said only where they differ from their
//! defaults.

use std::fmt::Debug;

use super::field::{Field, Form};
use super::{Malformed, Reader, Writer};

/// A whole request or response, without its header.
pub(crate) trait Message: Field + Debug + PartialEq {
    /// The first flexible version.
    const FLEXIBLE_FROM: i16;

    /// Reads a message as `version` says it.
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, Malformed> {
        Self::read(reader, Form::new(version, Self::FLEXIBLE_FROM))
    }

    /// Writes the message as `version` says it.
    fn encode(&self, writer: &mut Writer, version: i16) {
        self.write(writer, Form::new(version, Self::FLEXIBLE_FROM));
    }
}

macro_rules! schema {
    ($(
        $(#[$attribute:meta])*
        struct $name:ident {$(
            $(#[$note:meta])*
            $field:ident: $type:ty [$versions:expr $(, null $null:expr)?] $(= $default:expr)?,
        )*}
        $(tagged {$(
            $(#[$tagged_note:meta])*
            $tag:literal: $tagged:ident: $tagged_type:ty [$tagged_versions:expr]
                $(= $tagged_default:expr)?,
        )*})?
    )+) => {$(
        $(#[$attribute])*
        #[derive(Debug, Clone, PartialEq)]
        pub(crate) struct $name {
            $($(#[$note])* pub(crate) $field: $type,)*
            $($($(#[$tagged_note])* pub(crate) $tagged: $tagged_type,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($field: schema!(@default $($default)?),)*
                    $($($tagged: schema!(@default $($tagged_default)?),)*)?
                }
            }
        }

        impl $crate::wire::field::Field for $name {
            fn read(
                reader: &mut $crate::wire::Reader<'_>,
                form: $crate::wire::field::Form,
            ) -> Result<Self, $crate::wire::Malformed> {
                let mut message = Self::default();
                $(if std::ops::RangeBounds::contains(&$versions, &form.version) {
                    let form = form.nullable(schema!(@nullable form $($null)?));
                    message.$field = $crate::wire::field::Field::read(reader, form)?;
                })*
                if form.is_flexible {
                    schema!(@read_tags reader form message $({$(
                        $tag $tagged [$tagged_versions]
                    )*})?);
                }
                Ok(message)
            }

            fn write(&self, writer: &mut $crate::wire::Writer, form: $crate::wire::field::Form) {
                $(if std::ops::RangeBounds::contains(&$versions, &form.version) {
                    let form = form.nullable(schema!(@nullable form $($null)?));
                    $crate::wire::field::Field::write(&self.$field, writer, form);
                })*
                if form.is_flexible {
                    schema!(@write_tags writer form self $({$(
                        $tag $tagged: $tagged_type [$tagged_versions] {$($tagged_default)?}
                    )*})?);
                }
            }
        }

        #[cfg(test)]
        impl $crate::wire::filled::Filled for $name {
            fn filled(source: &mut $crate::wire::filled::Source) -> Self {
                use $crate::wire::filled::Filled;
                Self {
                    $($field: Filled::filled(source),)*
                    $($($tagged: Filled::filled(source),)*)?
                }
            }
        }
    )+};
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@nullable $form:ident) => { true };
    (@nullable $form:ident $null:expr) => {
        std::ops::RangeBounds::contains(&$null, &$form.version)
    };
    (@read_tags $reader:ident $form:ident $message:ident) => { $reader.skip_tags()? };
    (@read_tags $reader:ident $form:ident $message:ident {$(
        $tag:literal $field:ident [$versions:expr]
    )*}) => {
        $reader.tags(|tag, reader| {
            $(if tag == $tag && std::ops::RangeBounds::contains(&$versions, &$form.version) {
                $message.$field = $crate::wire::field::Field::read(reader, $form.nullable(true))?;
            })*
            Ok(())
        })?
    };
    (@write_tags $writer:ident $form:ident $message:ident) => { $writer.put_tags(&[]) };
    (@write_tags $writer:ident $form:ident $message:ident {$(
        $tag:literal $field:ident: $type:ty [$versions:expr] {$($default:expr)?}
    )*}) => {{
        let mut tags = Vec::new();
        $({
            let default: $type = schema!(@default $($default)?);
            let is_known = std::ops::RangeBounds::contains(&$versions, &$form.version);
            if is_known && $message.$field != default {
                let mut content = $crate::wire::Writer::default();
                let form = $form.nullable(true);
                $crate::wire::field::Field::write(&$message.$field, &mut content, form);
                tags.push(($tag, content));
            }
        })*
        $writer.put_tags(&tags);
    }};
}

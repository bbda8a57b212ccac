//! The attribute macro `protection_domain`; see the crate `sel4-microkit`.

use proc_macro::{Delimiter, Group, Ident, Punct, Spacing, Span, TokenStream, TokenTree};

/// Declares a function to be the entry point of a protection domain: it runs once and returns the domain's handler.
///
/// Arguments, all optional: `stack_size` (bytes of a stack inside the image instead of the one that the system
/// description gives) and `heap_size` (bytes of a static heap, which becomes the global allocator).
#[proc_macro_attribute]
pub fn protection_domain(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let Some(name) = function_name(item.clone()) else {
        return error("protection_domain goes before a function");
    };
    // ::sel4_microkit::declare_protection_domain! { init = NAME, ARGUMENTS }
    let mut inner = TokenStream::new();
    inner.extend([
        ident("init"),
        punct('=', Spacing::Alone),
        name.into(),
        punct(',', Spacing::Alone),
    ]);
    inner.extend(arguments);
    let mut output = TokenStream::new();
    output.extend(path(&["sel4_microkit", "declare_protection_domain"]));
    output.extend([
        punct('!', Spacing::Alone),
        Group::new(Delimiter::Brace, inner).into(),
    ]);
    output.extend(item);
    output
}

/// The identifier behind `fn`.
fn function_name(item: TokenStream) -> Option<Ident> {
    let mut tokens = item.into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn"))?;
    match tokens.next()? {
        TokenTree::Ident(name) => Some(name),
        _ => None,
    }
}

fn error(message: &str) -> TokenStream {
    format!("::core::compile_error!({message:?});")
        .parse()
        .expect("a string literal in a macro call is Rust")
}

fn ident(name: &str) -> TokenTree {
    Ident::new(name, Span::call_site()).into()
}

fn punct(character: char, spacing: Spacing) -> TokenTree {
    Punct::new(character, spacing).into()
}

/// An absolute path.
fn path(segments: &[&str]) -> Vec<TokenTree> {
    segments
        .iter()
        .flat_map(|segment| {
            [
                punct(':', Spacing::Joint),
                punct(':', Spacing::Alone),
                ident(segment),
            ]
        })
        .collect()
}

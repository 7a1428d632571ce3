//! Everywhere else: there is nothing to call.

use crate::kernel::Unavailable;
use crate::rights::Abi;

pub(crate) fn abi() -> Result<Abi, Unavailable> {
    Err(Unavailable::NotLinux)
}

pub(crate) fn errata() -> Option<u32> {
    None
}

//! How a region is divided into slots: chosen by the client, checked by the server.

use crate::layout::{
    LayoutError, PAGE_BYTES, REGION_BYTES_MAX, SLOT_ALIGN_BYTES, SLOT_BYTES_MIN, SLOT_BYTES_PREFERRED,
    SLOT_COUNT_MAX, SLOTS_OFFSET_IN_PAGE, SLOTS_PREFERRED,
};

/// How a region is divided into slots. Only sound geometries exist: the constructors check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    region_bytes: u64,
    slots_offset: u32,
    slot_bytes: u32,
    slot_count: u32,
}

impl Geometry {
    /// The geometry this library chooses for a region of `region_bytes` bytes.
    ///
    /// # Errors
    /// [`LayoutError::Size`] if the size is not a multiple of a page within the limits.
    pub fn for_region(region_bytes: u64) -> Result<Self, LayoutError> {
        check_size(region_bytes)?;
        if region_bytes == PAGE_BYTES {
            return Self::new(region_bytes, SLOTS_OFFSET_IN_PAGE, SLOT_BYTES_MIN, 1);
        }
        let room = region_bytes - PAGE_BYTES;
        let fair_share = room / u64::from(SLOTS_PREFERRED);
        let page_multiple = fair_share / PAGE_BYTES * PAGE_BYTES;
        let slot_bytes = page_multiple.clamp(PAGE_BYTES, u64::from(SLOT_BYTES_PREFERRED)) as u32;
        let slot_count = (room / u64::from(slot_bytes)).min(u64::from(SLOT_COUNT_MAX)) as u32;
        Self::new(region_bytes, PAGE_BYTES as u32, slot_bytes, slot_count)
    }

    /// Accepts a geometry that somebody else chose.
    ///
    /// # Errors
    /// [`LayoutError`] says what is wrong with it.
    pub fn new(
        region_bytes: u64,
        slots_offset: u32,
        slot_bytes: u32,
        slot_count: u32,
    ) -> Result<Self, LayoutError> {
        check_size(region_bytes)?;
        let offset_ok = slots_offset == SLOTS_OFFSET_IN_PAGE
            || (slots_offset >= 4096 && slots_offset.is_multiple_of(4096));
        let slots_ok = slot_bytes >= SLOT_BYTES_MIN && slot_bytes.is_multiple_of(SLOT_ALIGN_BYTES);
        let count_ok = (1..=SLOT_COUNT_MAX).contains(&slot_count);
        // No overflow: three factors of at most 32 bits make less than 2^64 because the count has 16.
        let end = u64::from(slots_offset) + u64::from(slot_bytes) * u64::from(slot_count);
        if !(offset_ok && slots_ok && count_ok && end <= region_bytes) {
            return Err(LayoutError::Slots);
        }
        Ok(Self {
            region_bytes,
            slots_offset,
            slot_bytes,
            slot_count,
        })
    }

    /// Size of the whole region.
    #[must_use]
    pub fn region_bytes(&self) -> u64 {
        self.region_bytes
    }
    /// Where the first slot begins.
    #[must_use]
    pub fn slots_offset(&self) -> u32 {
        self.slots_offset
    }
    /// Size of one slot.
    #[must_use]
    pub fn slot_bytes(&self) -> usize {
        self.slot_bytes as usize
    }
    /// Number of slots: the capacity of the ring.
    #[must_use]
    pub fn slot_count(&self) -> u32 {
        self.slot_count
    }
    /// Where slot `index` begins.
    ///
    /// # Panics
    /// If `index` is not below the slot count: an index is always our own.
    #[must_use]
    pub fn slot_offset(&self, index: u32) -> usize {
        assert!(
            index < self.slot_count,
            "slot index {index} of {}",
            self.slot_count
        );
        self.slots_offset as usize + index as usize * self.slot_bytes as usize
    }
}

fn check_size(bytes: u64) -> Result<(), LayoutError> {
    if bytes.is_multiple_of(PAGE_BYTES) && (PAGE_BYTES..=REGION_BYTES_MAX).contains(&bytes) {
        Ok(())
    } else {
        Err(LayoutError::Size { bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_page_is_one_slot_of_3776_bytes() {
        let page = Geometry::for_region(4096).unwrap();
        assert_eq!(
            (page.slot_offset(0), page.slot_bytes(), page.slot_count()),
            (320, 3776, 1)
        );
    }

    #[test]
    fn a_mebibyte_is_four_page_aligned_slots() {
        let mebibyte = Geometry::for_region(1 << 20).unwrap();
        assert_eq!(
            (
                mebibyte.slot_offset(0),
                mebibyte.slot_bytes(),
                mebibyte.slot_count()
            ),
            (4096, 252 * 1024, 4)
        );
    }

    #[test]
    fn sizes_that_are_no_region_are_refused() {
        for bytes in [
            0,
            1,
            4095,
            4097,
            REGION_BYTES_MAX + 4096,
            u64::MAX,
            u64::MAX - 4095,
        ] {
            assert_eq!(Geometry::for_region(bytes), Err(LayoutError::Size { bytes }));
        }
    }

    proptest! {
        #[test]
        fn every_chosen_geometry_is_accepted_and_stays_inside(pages in 1u64..=(REGION_BYTES_MAX / PAGE_BYTES)) {
            let chosen = Geometry::for_region(pages * PAGE_BYTES).unwrap();
            let last = chosen.slot_offset(chosen.slot_count() - 1) + chosen.slot_bytes();
            prop_assert!(last as u64 <= pages * PAGE_BYTES);
        }

        #[test]
        fn no_accepted_geometry_reaches_outside(region in any::<u64>(), offset in any::<u32>(), bytes in any::<u32>(), count in any::<u32>()) {
            if let Ok(geometry) = Geometry::new(region, offset, bytes, count) {
                let last = geometry.slot_offset(count - 1) as u64 + u64::from(bytes);
                prop_assert!(last <= region && region <= REGION_BYTES_MAX && offset >= SLOTS_OFFSET_IN_PAGE);
            }
        }
    }
}

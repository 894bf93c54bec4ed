/// Returns the lines of a page without the fences of its code blocks, each with whether it is in such a block.
pub(crate) fn lines(page: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut in_block = false;
    page.lines().filter_map(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        (!is_fence).then_some((in_block, line))
    })
}

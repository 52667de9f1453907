-- A funnel has one mode, and a strict one has only what visitors and buyers do: what is sent to
-- them, or opened in a mailbox, is never the next thing that they do.
select
    funnel,
    min(mode) as mode,
    max(mode) as other_mode
from {{ ref('funnel_steps') }}
group by funnel
having
    min(mode) <> max(mode)
    or count_if(mode = 'strict' and not ({{ perennial.is_visit('event') }})) > 0

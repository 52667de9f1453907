-- Hours stand at every step but the first; of a funnel of any order at the first alone.
select
    funnel,
    step_number,
    window_hours
from {{ ref('funnel_steps') }}
where
    case when mode = 'any_order' then step_number = 1 else step_number > 1 end
    is distinct from coalesce(window_hours > 0, false)
    or window_hours <= 0

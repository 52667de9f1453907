-- Steps of a funnel are 1, 2, 3 and so on, no more than there may be.
select
    funnel,
    min(step_number) as first_step,
    max(step_number) as last_step,
    count(*) as n_steps
from {{ ref('funnel_steps') }}
group by funnel
having
    min(step_number) <> 1
    or max(step_number) <> count(*)
    or count(*) > {{ perennial.max_funnel_steps() }}

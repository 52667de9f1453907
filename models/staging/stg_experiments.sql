with checked as (
    {{ perennial.checked('experiments') }}
)

select
    experiment_id,
    name,
    metric,
    starts_at,
    ends_at,
    allocation
from checked
where refusal is null

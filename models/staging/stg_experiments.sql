select
    experiment_id,
    name,
    metric,
    starts_at,
    ends_at,
    allocation
from {{ ref('checked_experiments') }}
where refusal is null

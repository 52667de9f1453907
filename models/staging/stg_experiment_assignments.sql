with checked as (
    {{ perennial.checked('experiment_assignments') }}
)

select
    experiment_id,
    customer_id,
    variant,
    assigned_at
from checked
where refusal is null

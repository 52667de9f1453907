select
    experiment_id,
    customer_id,
    variant,
    assigned_at
from {{ ref('checked_experiment_assignments') }}
where refusal is null

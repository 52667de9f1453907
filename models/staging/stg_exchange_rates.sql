select
    rate_date,
    currency,
    rate
from {{ ref('checked_exchange_rates') }}
where refusal is null

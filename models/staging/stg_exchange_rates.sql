with checked as (
    {{ perennial.checked('exchange_rates') }}
)

select
    rate_date,
    currency,
    rate
from checked
where refusal is null

with checked as (
    {{ perennial.checked('exchange_rates') }}
)

select
    rate_date,
    upper(currency) as currency,
    rate
from checked
where refusal is null

with checked as (
    {{ perennial.checked('ad_spend') }}
)

select
    spend_date,
    channel,
    cost,
    impressions,
    clicks,
    coalesce(currency, '{{ perennial.setting('currency') }}') as currency
from checked
where refusal is null

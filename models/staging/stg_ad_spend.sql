select
    spend_date,
    channel,
    cost,
    impressions,
    clicks,
    coalesce(currency, '{{ perennial.setting('currency') }}') as currency
from {{ ref('checked_ad_spend') }}
where refusal is null

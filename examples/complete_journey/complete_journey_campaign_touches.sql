select
    campaigns.campaign_id || '-' || campaigns.household_id as touch_id,
    cast(campaigns.campaign_id as varchar) as campaign_id,
    cast(campaigns.household_id as varchar) as customer_id,
    descriptions.starts_at as sent_at
from {{ perennial.example_file('campaigns.parquet') }} as campaigns
inner join {{ ref('complete_journey_campaigns') }} as descriptions
    on cast(campaigns.campaign_id as varchar) = descriptions.campaign_id

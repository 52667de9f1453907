select
    cast(customer_id as string) as customer_id,
    cast(coalesce(country, 'unknown') as string) as country,
    cast(coalesce(channel, 'unknown') as string) as channel,
    cast(coalesce(first_category, 'unknown') as string) as first_category,
    cast(
        case
            when has_first_order_coupon is null then 'unknown'
            when has_first_order_coupon then 'with'
            else 'without'
        end
        as string
    ) as first_order_coupon,
    cast(coalesce(first_device, 'unknown') as string) as device
from {{ ref('customers') }}

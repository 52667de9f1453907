-- So many customers teach a model as well as all of them would. The share is halved until
-- they are no more than the setting churn_training_customers, which the shop's growth does
-- seldom, and who is in it is drawn by a hash: it stays the same from day to day.
with buyers as (
    select
        customer_id,
        md5(customer_id) as draw,
        count(*) over () as n_buyers
    from {{ ref('customers') }}
    where n_orders > 0
),

halved as (
    select
        customer_id,
        draw,
        cast(
            greatest(
                0,
                ceil(
                    log2(
                        n_buyers / {{ perennial.setting('churn_training_customers') }}.0
                    )
                )
            ) as integer
        ) as n_halvings
    from buyers
)

select customer_id
from halved
where
    n_halvings = 0
    -- A share of 1/2 is all draws below '8', 1/4 below '4', 1/16 below '1', 1/32 below '08'.
    or draw < repeat('0', cast(floor((n_halvings - 1) / 4) as integer))
    || case n_halvings % 4 when 1 then '8' when 2 then '4' when 3 then '2' else '1' end

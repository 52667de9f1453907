with rules as (
    select
        {{ perennial.rule_id() | indent(8) }} as rule_id,
        {{ perennial.as_json("antecedent") }} as antecedent,
        {{ perennial.as_json("consequent") }} as consequent,
        len(antecedent) + len(consequent) as n_products,
        n_both,
        n_antecedent,
        n_consequent,
        n_baskets as n_orders,
        n_least,
        cast(n_both as double) / n_antecedent as confidence,
        cast(n_consequent as double) / n_baskets as share_with_consequent
    from {{ ref('py_association_rules') }}
)

select
    cast(rule_id as string) as rule_id,
    cast(antecedent as string) as antecedent,
    cast(consequent as string) as consequent,
    cast(n_products as integer) as n_products,
    cast(n_both as bigint) as n_both,
    cast(n_antecedent as bigint) as n_antecedent,
    cast(n_consequent as bigint) as n_consequent,
    cast(n_orders as bigint) as n_orders,
    cast(n_least as bigint) as n_least,
    cast(n_both as double) / n_orders as support,
    cast(confidence as double) as confidence,
    cast(n_both as double)
    * n_orders
    / (cast(n_antecedent as double) * n_consequent) as lift,
    cast(n_both as double) / n_orders
    - cast(n_antecedent as double) / n_orders * share_with_consequent as leverage,
    -- Nobody leaves out the consequent: that is beyond every number.
    case
        when n_both < n_antecedent then (1 - share_with_consequent) / (1 - confidence)
    end as conviction
from rules
